# SPDX-License-Identifier: Apache-2.0
"""The talk that every two programs hold through sottod.

Alice writes while Bob is away, the server is killed with -9 and started again,
Bob reads. They talk. Then Alice is away, the same. Nothing of it is left.
"""
from stage import until

TENT, SAND, DUNE, ROSE, RAIN, TIDE = texts = [
    "the marshmallow is in the blue tent", "sand in every shoe", "over the dune at nine",
    "a rose for the ferryman", "rain came before noon", "the tide keeps its own clock"]


async def write_kill_restart(stage, sender, to, *mail):
    """Write; when the server has acked, kill it and start it again."""
    for text in mail:
        sent = await sender.write(to, text)
    await sender.accepted(sent)
    waiting = stage.server.waiting()
    if waiting < len(mail):
        raise AssertionError("%d messages wait, not %d" % (waiting, len(mail)))
    stage.server.kill()
    sender.lost()
    stage.say("%s (%s) wrote to %s, who is away; the server was killed with -9" % (sender.name, sender.program, to))
    stage.server.start()
    await sender.back()
    return sent


async def read(reader, writer, *texts, sent):
    """Reader reads it on the wire that both know, and writer has both ticks."""
    wire = await reader.read(writer.name, *texts)
    best = sorted(reader.wires & writer.wires)[-1]  # urn:… is the newer
    if wire != best:
        raise AssertionError("%s wrote to %s on %s, not on %s" % (writer.program, reader.program, wire, best))
    await writer.delivered(sent)
    if reader.marks and writer.marks:
        await writer.seen(sent)
        return "%s; %s has both ticks" % (wire, writer.name)
    return "%s; %s has the receipt" % (wire, writer.name)


async def talk(stage, alice, bob):
    """Both directions, online and offline."""
    say, server = stage.say, stage.server
    for _ in range(2):  # from the second login on it is a device
        await bob.on()
        await bob.off()
    say("bob (%s) published his keys and left" % bob.program)
    await alice.on()
    sent = await write_kill_restart(stage, alice, "bob", TENT)
    await bob.on()
    say("bob came back and read it (%s)" % await read(bob, alice, TENT, sent=sent))
    sent = await bob.write("alice", SAND)
    say("alice read the answer (%s)" % await read(alice, bob, SAND, sent=sent))
    sent = await alice.write("bob", DUNE)
    say("bob read the next (%s)" % await read(bob, alice, DUNE, sent=sent))
    await alice.off()
    sent = await write_kill_restart(stage, bob, "alice", ROSE, RAIN)
    await alice.on()
    say("alice was away, came back and read two in order (%s)" % await read(alice, bob, ROSE, RAIN, sent=sent))
    sent = await alice.write("bob", TIDE)
    say("bob read the last (%s)" % await read(bob, alice, TIDE, sent=sent))
    await bob.off()
    await until("nothing waits any more", lambda: server.waiting() == 0)
    await alice.off()
    server.stop()
    say("sottod check: %s; nothing of it is in the folder" % server.forgotten(texts + ["eu.siacs", "urn:xmpp:omemo"]))

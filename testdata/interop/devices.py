# SPDX-License-Identifier: Apache-2.0
"""People with more than one device, by more than one maker."""
from profanity_person import Profanity
from slixmpp_person import Slixmpp
from sotto_person import Sotto
from stage import until
from twomemo_person import WIRE, Twomemo

MOSS, FERN, REED, OAK, ASH = "moss on the north side", "fern behind the shed", "reed by the pond", "oak at the gate", "ash on the hill"


async def come(*devices, times=2):
    """Each comes and, but for the last time, leaves: from the second login on it is a device."""
    for _ in range(times - 1):
        for d in devices:
            await d.on()
        for d in devices:
            await d.off()
    for d in devices:
        await d.on()


async def leave(stage, *devices):
    for d in devices[:-1]:
        await d.off()
    await until("nothing waits any more", lambda: stage.server.waiting() == 0)
    await devices[-1].off()
    stage.server.stop()
    stage.say("sottod check: " + stage.server.forgotten([MOSS, FERN, REED, OAK, ASH]))


async def four(stage):
    """Alice and Bob have two devices each: all read, and the writer's other one has the copy."""
    desk, laptop = Sotto(stage, "alice"), Slixmpp(stage, "alice", "laptop")
    phone, tower = Profanity(stage, "bob"), Sotto(stage, "bob")
    await come(desk, laptop, phone, tower)
    await desk.write("bob", MOSS)
    for d in (phone, tower):
        await d.read("alice", MOSS)
    await laptop.copied("bob", MOSS)
    stage.say("alice wrote in sotto: bob's profanity and sotto read it, her slixmpp has the copy")
    await phone.write("alice", FERN)
    for d in (desk, laptop):
        await d.read("bob", FERN)
    await tower.copied("alice", FERN)
    stage.say("bob wrote in profanity: alice's sotto and slixmpp read it, his sotto has the copy")
    await laptop.write("bob", REED)
    for d in (phone, tower):
        await d.read("alice", MOSS, REED)
    await desk.copied("bob", REED)
    stage.say("alice wrote in slixmpp: bob's both read it, her sotto has the copy")
    await laptop.off()
    await tower.off()
    sent = await desk.write("bob", OAK)
    await phone.read("alice", MOSS, REED, OAK)
    await desk.delivered(sent)
    stage.server.kill()
    for d in (desk, phone):
        d.lost()
    stage.server.start()
    for d in (desk, phone):
        await d.back()
    await tower.on()
    await tower.read("alice", MOSS, REED, OAK)
    await laptop.on()
    await laptop.copied("bob", OAK)
    stage.say("two slept while she wrote and the server was killed: bob's sotto read it, alice's slixmpp has the copy")
    await leave(stage, phone, tower, laptop, desk)


async def mixed(stage):
    """Bob's devices have no wire in common: one message reaches both."""
    alice, old, new = Sotto(stage, "alice"), Profanity(stage, "bob"), Twomemo(stage, "bob")
    await come(alice, old, new)
    await alice.write("bob", MOSS)
    wires = [await d.read("alice", MOSS) for d in (old, new)]
    if set(wires[1].split(",")) != {WIRE, "eu.siacs.conversations.axolotl"}:
        raise AssertionError("the message had %r" % wires)
    stage.say("alice wrote once: bob read it in profanity (old wire) and with twomemo (new wire)")
    await new.write("alice", FERN)
    await alice.read("bob", FERN)
    await old.write("alice", ASH)
    await alice.read("bob", FERN, ASH)
    stage.say("bob wrote on each: alice read both")
    await leave(stage, old, new, alice)

# SPDX-License-Identifier: Apache-2.0
"""Stock slixmpp reads the archive (XEP-0313): whole histories, and what waits in forget mode."""
import asyncio
from datetime import datetime, timezone
from slixmpp import ClientXMPP
from stage import until

MESSAGES = 37


class Reader(ClientXMPP):
    def __init__(self, stage, name, resource):
        server = stage.server
        super().__init__("%s@localhost/%s" % (name, resource), server.password(name))
        for p in ("xep_0030", "xep_0059", "xep_0198", "xep_0199", "xep_0313", "xep_0359", "xep_0441"):
            self.register_plugin(p)
        self.ca_certs, self.ready, self.got = server.ca, asyncio.Event(), {}
        self.add_event_handler("session_start", lambda _: self.ready.set())
        self.add_event_handler("message", self.message)
        self.connect("127.0.0.1", server.port)

    def message(self, m):
        if m["body"]:
            self.got[m["body"]] = m["stanza_id"]["id"]

    async def whole(self, **question):
        """The texts and ids of an answer, by pages of 10."""
        return [(m["mam_result"]["forwarded"]["stanza"]["body"], m["mam_result"]["id"])
                async for m in self["xep_0313"].iterate(**question)]


async def on(stage, name, resource="a"):
    c = Reader(stage, name, resource)
    await asyncio.wait_for(c.ready.wait(), 20)
    return c


def same(what, got, want):
    if got != want:
        raise AssertionError("%s: %r, not %r" % (what, got, want))


async def keep(stage):
    """mode = "keep": both have the talk, in order, once; pages both ways; the server is killed between."""
    alice, bob = await on(stage, "alice"), await on(stage, "bob")
    bob.send_presence()
    begin, texts = datetime.now(timezone.utc), ["text %d" % i for i in range(MESSAGES)]
    for t in texts:
        alice.send_message("bob@localhost", t, mtype="chat")
    await until("all messages", lambda: len(bob.got) == MESSAGES)
    same("bob's ids", await bob.whole(), [(t, bob.got[t]) for t in texts])
    info = await bob["xep_0030"].get_info("bob@localhost")
    for feature in ("urn:xmpp:mam:2", "urn:xmpp:mam:2#extended"):
        if feature not in info["disco_info"]["features"]:
            raise AssertionError("no " + feature)
    stage.server.kill()
    for c in (alice, bob):
        c.abort()
    stage.server.start()
    for name in ("alice", "bob"):
        c = await on(stage, name, "b")
        same(name, [t for t, _ in await c.whole()], texts)
        same(name + " backwards", [t for t, _ in await c.whole(reverse=True)], texts[::-1])
        other = "bob@localhost" if name == "alice" else "alice@localhost"
        same(name + " with", [t for t, _ in await c.whole(with_jid=other)], texts)
        same(name + " with nobody", await c.whole(with_jid="carol@localhost"), [])
        same(name + " since", [t for t, _ in await c.whole(start=begin)], texts)
        same(name + " until", await c.whole(end=begin), [])
        meta = await c["xep_0313"].get_archive_metadata()
        if not meta["mam_metadata"]["start"]["id"]:
            raise AssertionError("no metadata")
        stage.say("%s reads %d messages, in pages, both ways" % (name, MESSAGES))
        await c.disconnect(wait=2)
    stage.server.stop()


async def forget(stage):
    """mode = "forget": a device reads what waits for it, gets it as mail, too, with the same ids, and then it is gone."""
    for _ in range(2):  # from its second login on it is a device
        bob = await on(stage, "bob", "phone")
        await bob.disconnect(wait=2)
    alice, texts = await on(stage, "alice"), ["wait %d" % i for i in range(MESSAGES)]
    for t in texts:
        alice.send_message("bob@localhost", t, mtype="chat")
    await until("all mail", lambda: stage.server.waiting() == MESSAGES)
    bob = await on(stage, "bob", "phone")
    read = await bob.whole()
    same("what waits", [t for t, _ in read], texts)
    bob.send_presence()
    await until("all mail at bob's", lambda: len(bob.got) == MESSAGES)
    same("ids", [(t, bob.got[t]) for t in texts], read)
    await until("it is acked", lambda: stage.server.waiting() == 0)
    same("afterwards", await bob.whole(), [])
    stage.say("%d messages read, then got with the same ids, then gone" % MESSAGES)
    for c in (alice, bob):
        await c.disconnect(wait=2)
    stage.server.stop()
    stage.server.forgotten(texts)

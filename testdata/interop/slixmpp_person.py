# SPDX-License-Identifier: Apache-2.0
"""One person with stock slixmpp and slixmpp-omemo."""
import asyncio, json, os, sys
from slixmpp import ClientXMPP, JID
from slixmpp.plugins import register_plugin
from slixmpp_omemo import XEP_0384, TrustLevel
from omemo.storage import Just, Nothing, Storage
from stage import until


class File(Storage):
    """The storage that the library asks its user to bring."""

    def __init__(self, path):
        super().__init__()
        self.path, self.data = path, {}
        if os.path.exists(path):
            with open(path) as f:
                self.data = json.load(f)

    async def _load(self, key):
        return Just(self.data[key]) if key in self.data else Nothing()

    async def _store(self, key, value):
        self.data[key] = value
        self.save()

    async def _delete(self, key):
        self.data.pop(key, None)
        self.save()

    def save(self):
        with open(self.path, "w") as f:
            json.dump(self.data, f)


class Omemo(XEP_0384):
    default_config = {"fallback_message": "This message is encrypted.", "path": None}

    def plugin_init(self):
        self.file = File(self.path)
        super().plugin_init()

    @property
    def storage(self):
        return self.file

    @property
    def _btbv_enabled(self):
        return True

    async def _prompt_manual_trust(self, manually_trusted, identifier):
        sm = await self.get_session_manager()
        for d in manually_trusted:
            await sm.set_trust(d.bare_jid, d.identity_key, TrustLevel.TRUSTED.value)


register_plugin(Omemo)


class Connection(ClientXMPP):
    def __init__(self, jid, password, keys, ca):
        super().__init__(jid, password)
        for p in ("xep_0030", "xep_0199", "xep_0198", "xep_0280", "xep_0334", "xep_0380", "xep_0184", "xep_0333"):
            self.register_plugin(p)
        self.register_plugin("xep_0384", {"path": keys}, module=sys.modules[__name__])
        self.ca_certs, self.ready, self.gone = ca, asyncio.Event(), asyncio.Event()
        self.add_event_handler("session_start", self.begin)
        self.add_event_handler("omemo_initialized", lambda *_: self.ready.set())
        self.add_event_handler("disconnected", lambda *_: self.gone.set())

    async def begin(self, _):
        await self["xep_0280"].enable()
        self.send_presence()
        await self.get_roster()


class Slixmpp:
    program = "slixmpp"
    wires = {"eu.siacs.conversations.axolotl"}  # that it writes; it lists itself on both
    marks = True  # tells and shows what was read (XEP-0333)

    def __init__(self, stage, name, resource="phone"):
        self.stage, self.name = stage, name
        self.jid = "%s@localhost/%s" % (name, resource)
        self.keys = os.path.join(stage.room("slixmpp"), "%s-%s.json" % (name, resource))
        self.connection, self.had, self.ticks = None, [], set()

    async def on(self):
        server = self.stage.server
        c = self.connection = Connection(self.jid, server.password(self.name), self.keys, server.ca)
        self.prepare(c)
        c.add_event_handler("message", self.message)
        for kind in ("carbon_received", "carbon_sent"):
            c.add_event_handler(kind, self.copy)
        c.add_event_handler("stanza_acked", lambda m: self.ticks.add((m["id"], "sent")))
        c.add_event_handler("receipt_received", lambda m: self.ticks.add((m["receipt"], "delivered")))
        c.add_event_handler("marker_displayed", lambda m: self.ticks.add((m["displayed"]["id"], "read")))
        c.connect("127.0.0.1", server.port)
        await asyncio.wait_for(c.ready.wait(), 30)

    def prepare(self, connection):
        """What is to be set before it connects."""

    async def off(self):
        """Leave in good order: the server has all that was sent."""
        await self.accepted(None)
        await self.connection.disconnect(wait=5)

    def lost(self):
        """The server is gone."""
        self.connection.abort()

    async def back(self):
        """The same stream again (XEP-0198)."""
        c = self.connection
        done = asyncio.get_running_loop().create_future()
        for event in ("session_resumed", "session_start"):
            c.add_event_handler(event, lambda *_, e=event: done.done() or done.set_result(e), disposable=True)
        c.connect("127.0.0.1", self.stage.server.port)
        if await asyncio.wait_for(done, 20) != "session_resumed":
            raise AssertionError("slixmpp could not resume its stream")

    async def message(self, m):
        wires = self.connection["xep_0384"].is_encrypted(m)
        text = await self.opened(m) if wires else m["body"]
        if text:
            self.had.append((text, ",".join(wires) or "readable", m["id"], JID(m["from"]).user))

    async def copy(self, m):
        await self.message(m["carbon_sent"] if m.get_plugin("carbon_sent", check=True) is not None else m["carbon_received"])

    async def opened(self, m):
        plain, _ = await self.connection["xep_0384"].decrypt_message(m)
        return plain["body"]

    async def write(self, to, text):
        """Send, and tell the id."""
        m = self.connection.make_message(mto=JID(to + "@localhost"), mtype="chat")
        sent = await self.sealed(m, to + "@localhost", text)
        sent["request_receipt"] = True
        sent.enable("markable")
        sent.send()
        return sent["id"]

    async def sealed(self, m, to, text):
        m["body"] = text
        sealed, errors = await self.connection["xep_0384"].encrypt_message(m, {JID(to)})
        if errors:
            raise RuntimeError(errors)
        return sealed

    async def accepted(self, sent):
        """The server's ack covers all that was sent (XEP-0198)."""
        c, sm = self.connection, self.connection["xep_0198"]

        def acked():
            sm.request_ack()
            done = sent is None or (sent, "sent") in self.ticks
            return done and c.waiting_queue.empty() and not sm.unacked_queue
        await until("slixmpp has the server's ack", acked)

    async def delivered(self, sent):
        await until("%s in slixmpp has the receipt" % self.name, lambda: (sent, "delivered") in self.ticks)

    async def seen(self, sent):
        await until("%s in slixmpp has the marker" % self.name, lambda: (sent, "read") in self.ticks)

    async def copied(self, to, text):
        """Another device of ours wrote it."""
        await until("%s in slixmpp has the copy" % self.name, lambda: (text, self.name) in [(h[0], h[3]) for h in self.had])

    async def read(self, sender, *texts):
        """All texts came, once each and in this order; tell the wire."""
        def come():
            return [h for h in self.had if h[0] in texts and h[3] == sender]
        await until("%s in slixmpp reads %s" % (self.name, texts[-1]), lambda: texts[-1] in [h[0] for h in come()])
        if [h[0] for h in come()] != list(texts):
            raise AssertionError("slixmpp read %r, not %r" % (come(), texts))
        last = come()[-1]
        if last[1] != "readable":  # who cannot encrypt has asked for no marker
            self.connection["xep_0333"].send_marker(JID(sender + "@localhost"), last[2], "displayed")
        return last[1]

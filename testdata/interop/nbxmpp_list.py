# SPDX-License-Identifier: Apache-2.0
"""nbxmpp, the library below Gajim, does all that a client does. Usage: nbxmpp_list.py PORT CA PASSWORD_OF_ALICE PASSWORD_OF_BOB

One line for each thing that works; exit 0 only if all did. This release of
nbxmpp has no push, no client state, no SASL2 and no self-ping of its own; copies
(XEP-0280) are switched on by who uses it, as here.
"""
import os, sys, time
import gi
gi.require_version("Soup", "3.0")
from gi.repository import Gio, GLib
from nbxmpp.client import Client
from nbxmpp.const import ConnectionProtocol, ConnectionType
from nbxmpp.errors import is_error
from nbxmpp.namespaces import Namespace
from nbxmpp.modules.receipts import build_receipt
from nbxmpp.modules.user_avatar import Avatar
from nbxmpp.protocol import Iq, JID, Message, Node, Presence
from nbxmpp.structs import BookmarkData, StanzaHandler

PORT, CA, PASSWORDS = int(sys.argv[1]), sys.argv[2], dict(zip(("alice", "bob"), sys.argv[3:]))
PNG = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415478da6360606000000004000127"
                    "34270a0000000049454e44ae426082")
ROOM = JID.from_string("shed@rooms.localhost")
TURN = GLib.MainContext.default()
Gio.TlsBackend.get_default().set_default_database(Gio.TlsFileDatabase.new(CA))


def until(what, question, seconds=15):
    """Let the world turn until the answer is true."""
    end = time.monotonic() + seconds
    tick = GLib.timeout_add(50, lambda: True)
    try:
        while not (answer := question()):
            if time.monotonic() > end:
                raise TimeoutError("waited %d s for: %s" % (seconds, what))
            TURN.iteration(True)
        return answer
    finally:
        GLib.source_remove(tick)


class Person:
    def __init__(self, name, resource):
        self.name, self.resource, self.heard, self.roster = name, resource, [], {}
        self.jid = JID.from_string("%s@localhost" % name)
        c = self.client = Client(log_context=name + resource)
        c.set_domain("localhost")
        c.set_username(name)
        c.set_password(PASSWORDS[name])
        c.set_resource(resource)
        c.set_custom_host("localhost:%d" % PORT, ConnectionProtocol.TCP, ConnectionType.START_TLS)
        for signal in ("connected", "resume-successful", "resume-failed", "disconnected", "connection-failed"):
            c.subscribe(signal, self.signal)
        for kind in ("message", "presence"):
            c.register_handler(StanzaHandler(name=kind, callback=self.take, priority=50))
        c.register_handler(StanzaHandler(name="iq", callback=self.push, typ="set", ns=Namespace.ROSTER, priority=50))

    def signal(self, _client, signal, *_):
        self.heard.append((signal, None, None))

    def take(self, _client, stanza, about):
        kind = stanza.getName()
        self.heard.append((kind, stanza, about))
        if kind == "message" and about.receipt and about.receipt.type == "request" and not about.carbon and about.type.value == "chat":
            self.client.send_stanza(build_receipt(stanza))

    def push(self, _client, _stanza, about):
        item = about.roster.item
        self.roster[str(item.jid)] = item

    def hears(self, kind, what, fits=lambda s, about: True):
        """Wait for something, and take it off."""
        def find():
            for i, (k, s, about) in enumerate(self.heard):
                if k == kind and fits(s, about):
                    return self.heard.pop(i)
        try:
            return until("%s/%s: %s" % (self.name, self.resource, what), find)[1:]
        except TimeoutError as e:
            raise TimeoutError("%s; it heard %s" % (e, [(k, str(s)[:300]) for k, s, _ in self.heard]))

    def reads(self, text, fits=lambda s, about: True):
        return self.hears("message", "it reads " + text, lambda s, about: about.body == text and fits(s, about))

    def never(self, text):
        if [s for k, s, about in self.heard if k == "message" and about.body == text]:
            raise AssertionError("%s heard twice: %s" % (self.name, text))

    def ask(self, module, question, *words, **more):
        """One question of one of its modules, and its answer."""
        self.answers = []
        getattr(self.client.get_module(module), question)(*words, callback=self.answered, **more)  # held weakly: no lambda lives so long
        until("%s: the answer to %s" % (self.name, question), lambda: self.answers)
        if is_error(self.answers[0]):
            raise AssertionError("%s: %s" % (question, self.answers[0]))
        return self.answers[0]

    def answered(self, task):
        self.answers.append(task.get_result())

    def on(self):
        c = self.client
        c.connect()
        self.hears("connected", "it is logged in")
        self.roster = {str(i.jid): i for i in self.ask("Roster", "request_roster").items or []}
        copies = Iq(typ="set")
        copies.addChild("enable", namespace=Namespace.CARBONS)
        c.send_stanza(copies)
        caps = c.get_module("EntityCaps")
        caps.set_caps([], [Namespace.AVATAR_METADATA + "+notify"], "https://example.org")
        self.here(**caps.caps._asdict())
        return self

    def here(self, **caps):
        self.client.send_stanza(Presence(payload=[Node(Namespace.CAPS + " c", attrs=caps)] if caps else []))

    def off(self):
        self.client.disconnect()
        self.hears("disconnected", "it is gone")

    def cut(self):
        self.client.disconnect(immediate=True)
        self.hears("disconnected", "the cut")

    def say(self, to, text, *more, typ="chat"):
        return self.client.send_stanza(Message(to=to, body=text, typ=typ, payload=list(more)))


def done(what):
    print("nbxmpp " + what, flush=True)


def friends(alice, bob):
    """Roster and presence (RFC 6121 §2, §3, §4)."""
    for a, b in ((alice, bob), (bob, alice)):
        a.client.get_module("BasePresence").subscribe(b.jid)
        b.hears("presence", "the request", lambda s, about: about.type.is_subscribe and s.getFrom().bare_match(a.jid))
        b.client.get_module("BasePresence").subscribed(a.jid)
    for a, b in ((alice, bob), (bob, alice)):
        until("both know each other", lambda: a.roster.get(str(b.jid)) and a.roster[str(b.jid)].subscription == "both")
        a.hears("presence", "the other is there", lambda s, about: about.type.is_available and s.getFrom().bare_match(b.jid))
    alice.ask("Roster", "set_item", bob.jid, "Bob", ["boats"])
    until("the name is in the roster", lambda: alice.roster[str(bob.jid)].groups == {"boats"})
    done("roster, subscriptions, presence")


def talk(alice, tablet, bob):
    """A message with its receipt, typing, a marker, a correction; copies of all for the other device."""
    sent = alice.say(bob.jid, "the gate is open", Node(Namespace.RECEIPTS + " request"), Node(Namespace.CHATMARKERS + " markable"))
    _, about = bob.reads("the gate is open")
    if not about.stanza_ids:
        raise AssertionError("no stanza id")
    alice.hears("message", "the receipt", lambda s, about: about.receipt and about.receipt.id == sent and not about.carbon)
    tablet.hears("message", "the copy", lambda s, about: about.carbon and about.carbon.is_sent and about.body == "the gate is open")
    tablet.hears("message", "the receipt, sent to the account", lambda s, about: about.receipt and about.receipt.id == sent)
    bob.say(alice.jid, None, Node(Namespace.CHATMARKERS + " displayed", attrs={"id": sent}))
    alice.hears("message", "the marker", lambda s, about: about.marker and about.marker.id == sent)
    bob.say(alice.jid, None, Node(Namespace.CHATSTATES + " composing"))
    alice.hears("message", "he types", lambda s, about: about.chatstate is not None)
    alice.say(bob.jid, "the gate was open", Node(Namespace.CORRECT + " replace", attrs={"id": sent}))
    bob.reads("the gate was open", lambda s, about: about.correction.id == sent)
    done("message, receipt, marker, typing, correction, copies")


def away(alice, bob):
    """Offline, and a lost socket: nothing is lost, nothing comes twice."""
    bob.off()
    alice.hears("presence", "he is gone", lambda s, about: about.type.is_unavailable and s.getFrom().bare_match(bob.jid))
    alice.say(bob.jid, "the ferry is late")
    bob = Person("bob", "phone").on()
    bob.reads("the ferry is late", lambda s, about: about.has_server_delay)
    done("offline")
    for a, b, text in ((alice, bob, "the rope is wet"), (bob, alice, "the rope is dry")):
        b.cut()
        a.say(b.jid, text)
        b.client.connect()
        b.hears("resume-successful", "its stream goes on")
        b.reads(text)
    alice.ask("Ping", "ping", JID.from_string("localhost"))
    bob.ask("Ping", "ping", JID.from_string("localhost"))
    alice.never("the rope is dry")
    bob.never("the rope is wet")
    done("resumption after a cut, both ways; ping")
    return bob


def archive(who, of, texts):
    """All of an archive, by pages of 4."""
    got, after = [], None
    while True:
        page = who.ask("MAM", "make_query", of, queryid="q", after=after, max_=4)
        if page.complete:
            break
        after = page.rsm.last
    for k, s, about in [h for h in who.heard if h[0] == "message" and h[2].mam]:
        who.heard.remove((k, s, about))
        if about.body:
            got.append(about.body)
    if got != texts:
        raise AssertionError("%s reads %r in the archive of %s" % (who.name, got, of))


def room(alice, bob):
    """XEP-0045, XEP-0421; the ping of oneself (XEP-0410) is a plain one."""
    join = Node(Namespace.MUC + " x")
    alice.client.send_stanza(Presence(to=ROOM.new_with(resource="Alice"), payload=[join]))
    alice.hears("presence", "she is in", lambda s, about: about.is_muc_self_presence)
    form = alice.ask("MUC", "request_config", ROOM).form
    form.type_ = "submit"
    alice.ask("MUC", "set_config", ROOM, form)
    alice.client.get_module("MUC").invite(ROOM, bob.jid, None, reason="come in")
    bob.hears("message", "he is invited", lambda s, about: about.muc_invite and about.muc_invite.muc == ROOM)
    bob.client.send_stanza(Presence(to=ROOM.new_with(resource="Bob"), payload=[join]))
    bob.hears("presence", "he is in", lambda s, about: about.is_muc_self_presence)
    texts, ids = ["who has the key?", "it is under the trunk"], set()
    for a, b, text in ((alice, bob, texts[0]), (bob, alice, texts[1])):
        a.say(ROOM, text, typ="groupchat")
        a.reads(text, lambda s, about: about.type.is_groupchat)
        ids.add(b.reads(text, lambda s, about: about.type.is_groupchat)[1].occupant_id)
    if len(ids) != 2 or None in ids:
        raise AssertionError("occupant ids: %r" % ids)
    alice.ask("Ping", "ping", ROOM.new_with(resource="Alice"))
    archive(bob, ROOM, texts)
    if not alice.ask("MUC", "request_info", ROOM).info.supports(Namespace.MAM_2):
        raise AssertionError("the room does not tell of its archive")
    bob.off()
    alice.hears("presence", "the room sees him go", lambda s, about: about.type.is_unavailable and s.getFrom() == ROOM.new_with(resource="Bob"))
    done("room, occupant ids, self-ping, archive of the room")


def shelf(alice, bob):
    """PEP: an avatar is published, announced, and fetched; bookmarks."""
    avatar = Avatar()
    avatar.add_image_source(PNG, "image/png", 1, 1)
    alice.ask("UserAvatar", "set_avatar", avatar, public=True)
    _, about = bob.hears("message", "her avatar", lambda s, about: about.pubsub_event and about.pubsub_event.node == Namespace.AVATAR_METADATA)
    got = bob.ask("UserAvatar", "request_avatar_data", about.pubsub_event.data.default, alice.jid)
    if got.data != PNG:
        raise AssertionError("another picture")
    alice.ask("NativeBookmarks", "store_bookmarks", [BookmarkData(ROOM, "Shed", "Alice", True)])
    until("the bookmark is there", lambda: [b.jid for b in alice.ask("NativeBookmarks", "request_bookmarks")] == [ROOM])
    done("PEP, avatar, bookmarks")


def http(who, method, url, data=None):
    request, ends = who.client.http_session.create_request(), []
    if data:
        request.set_request_body("application/octet-stream", data)
    request.send(method, url, timeout=15, callback=lambda r: ends.append((r.get_error(), r.get_data())))
    error, got = until(method, lambda: ends)[0]
    if error is not None:
        raise AssertionError("%s %s: %s" % (method, url, error))
    return got


def file(alice, bob):
    data = os.urandom(70000)
    slot = alice.ask("HTTPUpload", "request_slot", JID.from_string("localhost"), "boat.bin", len(data), "application/octet-stream")
    http(alice, "PUT", slot.put_uri, data)
    if http(bob, "GET", slot.get_uri) != data:
        raise AssertionError("another file")
    done("upload, and down again")


def block(alice, bob):
    bob.ask("Blocking", "block", [alice.jid])
    alice.say(bob.jid, "do you hear?")
    alice.hears("message", "he does not", lambda s, about: about.type.is_error)
    bob.ask("Blocking", "unblock", [alice.jid])
    bob.never("do you hear?")
    done("blocking")


alice, tablet, bob = Person("alice", "desk").on(), Person("alice", "tablet").on(), Person("bob", "phone").on()
friends(alice, bob)
talk(alice, tablet, bob)
bob = away(alice, bob)
for p in (alice, bob):
    archive(p, p.jid, ["the gate is open", "the gate was open", "the ferry is late", "the rope is wet", "the rope is dry"])
done("archive")
shelf(alice, bob)
file(alice, bob)
block(alice, bob)
room(alice, bob)
for p in (alice, tablet):
    p.off()

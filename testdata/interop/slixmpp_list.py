# SPDX-License-Identifier: Apache-2.0
"""Stock slixmpp does all that a client does. Usage: slixmpp_list.py PORT CA PASSWORD_OF_ALICE PASSWORD_OF_BOB

One line for each thing that works; exit 0 only if all did. slixmpp has no push
(XEP-0357) and no token login (XEP-0484).
"""
import asyncio, io, os, sys
import aiohttp
from slixmpp import ClientXMPP, JID
from slixmpp.plugins.xep_0410 import PingStatus
from stage import until

PLUGINS = (30, 45, 49, 54, 59, 60, 65, 77, 84, 85, 92, 115, 153, 163, 184, 191, 198, 199, 202, 203, 249, 280, 308, 313, 333, 334, 352, 359, 363,
           402, 410, 421, 424, 444, 461)
PNG = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415478da6360606000000004000127"
                    "34270a0000000049454e44ae426082")
PORT, CA, PASSWORDS = int(sys.argv[1]), sys.argv[2], dict(zip(("alice", "bob"), sys.argv[3:]))
ROOM = "shed@rooms.localhost"


class Person(ClientXMPP):
    def __init__(self, name, resource):
        super().__init__("%s@localhost/%s" % (name, resource), PASSWORDS[name])
        for p in PLUGINS:
            self.register_plugin("xep_%04d" % p)
        self.ca_certs, self.name, self.heard = CA, name, []
        for event in ("session_start", "session_resumed", "message", "groupchat_message", "carbon_sent", "carbon_received", "receipt_received",
                      "marker_displayed", "chatstate_composing", "changed_subscription", "avatar_metadata_publish",
                      "got_online", "got_offline", "presence_available", "disconnected", "message_error", "reactions", "groupchat_invite", "groupchat_direct_invite"):
            self.add_event_handler(event, lambda what, e=event: self.heard.append((e, what)))
        self["xep_0163"].add_interest("urn:xmpp:avatar:metadata")

    async def on(self, presence=True):
        self.connect("127.0.0.1", PORT)
        await self.hears("session_start", "it is logged in")
        if presence:
            await self["xep_0115"].update_caps(broadcast=False)
            await self["xep_0280"].enable()
            self.roster_was = await self.get_roster()
            self.send_presence()

    async def hears(self, event, what, fits=lambda e: True):
        """Wait for an event, and take it off."""
        def find():
            for i, (e, about) in enumerate(self.heard):
                if e == event and fits(about):
                    return self.heard.pop(i)
        try:
            return (await until("%s: %s" % (self.boundjid, what), find, 15))[1]
        except TimeoutError as e:
            raise TimeoutError("%s; it heard %s" % (e, [(k, str(v)[:300]) for k, v in self.heard]))

    async def reads(self, text, event="message"):
        return await self.hears(event, "it reads " + text, lambda m: m["body"] == text)

    def never(self, event, fits):
        if [e for e, about in self.heard if e == event and fits(about)]:
            raise AssertionError("%s heard twice: %s" % (self.boundjid, event))

    async def cut(self):
        """The socket is lost; the stream is resumed (XEP-0198)."""
        self.abort()
        await self.hears("disconnected", "the cut")


def done(what):
    print("slixmpp " + what, flush=True)


async def friends(alice, bob):
    """Roster and presence (RFC 6121 §2, §3, §4)."""
    alice.send_presence_subscription(pto="bob@localhost")
    for a, b in ((alice, bob), (bob, alice)):
        await until("both know each other", lambda: a.client_roster["%s@localhost" % b.name]["subscription"] == "both")
        await a.hears("got_online", "the other is there", lambda p: p["from"].bare == "%s@localhost" % b.name)
    alice.update_roster("bob@localhost", name="Bob", groups=["boats"], subscription="both")
    await until("the name is in the roster", lambda: alice.client_roster["bob@localhost"]["groups"] == ["boats"])
    done("roster, subscriptions, presence")


async def talk(alice, tablet, bob):
    """A message with its receipt, typing, a marker, a correction, a reaction; copies of all for the other device."""
    m = alice.make_message("bob@localhost", "the gate is open", mtype="chat")
    m["request_receipt"] = True
    m.enable("markable")
    m.send()
    got = await bob.reads("the gate is open")
    if not got["stanza_id"]["id"]:
        raise AssertionError("no stanza id: %s" % got)
    await alice.hears("receipt_received", "the receipt", lambda r: r["receipt"] == m["id"])
    await tablet.hears("carbon_sent", "the copy", lambda c: c["carbon_sent"]["body"] == "the gate is open")
    await tablet.hears("carbon_received", "the copy of the receipt", lambda c: c["carbon_received"]["receipt"] == m["id"])
    bob["xep_0333"].send_marker(JID("alice@localhost"), m["id"], "displayed")
    await alice.hears("marker_displayed", "the marker", lambda d: d["displayed"]["id"] == m["id"])
    c = bob.make_message("alice@localhost", mtype="chat")
    c["chat_state"] = "composing"
    c.send()
    await alice.hears("chatstate_composing", "he types")
    bob.send_message("alice@localhost", "so I see", mtype="chat")
    await alice.reads("so I see")
    await tablet.reads("so I see")
    fixed = alice["xep_0308"].build_correction(m["id"], mto="bob@localhost", mbody="the gate was open", mtype="chat")
    fixed.send()
    if (await bob.reads("the gate was open"))["replace"]["id"] != m["id"]:
        raise AssertionError("no correction")
    alice["xep_0444"].send_reactions(JID("bob@localhost"), m["id"], {"👍"})
    await bob.hears("reactions", "a reaction", lambda r: r["reactions"]["id"] == m["id"])
    done("message, receipt, marker, typing, correction, reaction, copies")


async def away(alice, bob):
    """Offline, and a lost socket: nothing is lost, nothing comes twice."""
    await bob.disconnect(wait=5)
    await alice.hears("got_offline", "he is gone", lambda p: p["from"].bare == "bob@localhost")
    alice.send_message("bob@localhost", "the ferry is late", mtype="chat")
    bob = Person("bob", "phone")
    await bob.on()
    if not (await bob.reads("the ferry is late"))["delay"]["stamp"]:
        raise AssertionError("no delay stamp")
    done("offline")
    for a, b, text in ((alice, bob, "the rope is wet"), (bob, alice, "the rope is dry")):
        await b.cut()
        a.send_message(b.boundjid.bare, text, mtype="chat")
        b.connect("127.0.0.1", PORT)
        await b.hears("session_resumed", "its stream goes on")
        await b.reads(text)
    await alice["xep_0199"].ping(JID("localhost"))
    alice.never("message", lambda m: m["body"] == "the rope is dry")
    done("resumption after a cut, both ways; ping")
    return bob


async def archive(alice, bob):
    for p in (alice, bob):
        texts = [m["mam_result"]["forwarded"]["stanza"]["body"] async for m in p["xep_0313"].iterate()]
        if [t for t in texts if t] != ["the gate is open", "so I see", "the gate was open", "the ferry is late", "the rope is wet", "the rope is dry"]:
            raise AssertionError("%s's archive: %r" % (p.name, texts))
    done("archive")


async def room(alice, bob):
    muc = alice["xep_0045"]
    await muc.join_muc_wait(JID(ROOM), "Alice", maxstanzas=0)
    form = await muc.get_room_config(ROOM)
    form["type"] = "submit"
    await muc.set_room_config(ROOM, form)
    muc.invite(ROOM, "bob@localhost", "come in")
    await bob.hears("groupchat_invite", "he is invited", lambda m: m["from"].bare == ROOM)
    alice["xep_0249"].send_invitation(JID("bob@localhost"), JID(ROOM))
    await bob.hears("groupchat_direct_invite", "he is invited", lambda m: m["groupchat_invite"]["jid"] == ROOM)
    await bob["xep_0045"].join_muc_wait(JID(ROOM), "Bob", maxstanzas=0)
    alice.send_message(ROOM, "who has the key?", mtype="groupchat")
    asked = await bob.reads("who has the key?", "groupchat_message")
    await alice.reads("who has the key?", "groupchat_message")
    bob.send_message(ROOM, "it is under the trunk", mtype="groupchat")
    answered = await alice.reads("it is under the trunk", "groupchat_message")
    ids = {asked["occupant-id"]["id"], answered["occupant-id"]["id"]}
    if len(ids) != 2 or not all(ids):
        raise AssertionError("occupant ids: %r" % ids)
    status = await alice["xep_0410"].send_self_ping(JID(ROOM + "/Alice"), alice.boundjid, timeout=5)
    if status is not PingStatus.JOINED:
        raise AssertionError("self-ping: %s" % status)
    texts = [m["mam_result"]["forwarded"]["stanza"]["body"] async for m in bob["xep_0313"].iterate(jid=JID(ROOM))]
    if [t for t in texts if t] != ["who has the key?", "it is under the trunk"]:
        raise AssertionError("the room's archive: %r" % texts)
    await bob.disconnect(wait=5)  # out of the room
    await until("the room sees him go", lambda: "Bob" not in alice["xep_0045"].get_roster(ROOM))
    done("room, occupant ids, self-ping, archive of the room")


async def shelf(alice, bob):
    """PEP: an avatar is published, announced, fetched, and is in the vCard, too; bookmarks."""
    avatar = alice["xep_0084"]
    await avatar.publish_avatar(PNG)
    name = avatar.generate_id(PNG)
    await avatar.publish_avatar_metadata([{"id": name, "type": "image/png", "bytes": len(PNG), "width": "1", "height": "1"}])
    await bob.hears("avatar_metadata_publish", "her avatar")
    got = await bob["xep_0084"].retrieve_avatar(JID("alice@localhost"), name)
    if got["pubsub"]["items"]["item"]["avatar_data"]["value"] != PNG:
        raise AssertionError("another picture")
    card = await bob["xep_0054"].get_vcard(JID("alice@localhost"))
    if card["vcard_temp"]["PHOTO"]["BINVAL"] != PNG:
        raise AssertionError("no picture in the vCard")
    done("PEP, avatar and its conversion, vCard")


async def file(alice, bob):
    data = os.urandom(70000)
    url = await alice["xep_0363"].upload_file("boat.bin", input_file=io.BytesIO(data), size=len(data))
    async with aiohttp.ClientSession() as session, session.get(url) as r:
        if await r.read() != data:
            raise AssertionError("another file")
    done("upload, and down again")


async def stream(alice, bob):
    """XEP-0065: bytes through the server's proxy."""
    got = bytearray()
    bob.add_event_handler("socks5_data", got.extend)
    bob["xep_0065"].auto_accept = True
    far = await alice["xep_0065"].handshake(bob.boundjid)
    for i in range(100):
        await far.write(b"%04d boats and oars\n" % i)
    await until("the stream is at bob's", lambda: len(got) == 100 * 20)
    far.transport.close()
    done("bytestream through the proxy")


async def block(alice, bob):
    await bob["xep_0191"].block(JID("alice@localhost"))
    alice.send_message("bob@localhost", "do you hear?", mtype="chat")
    await alice.hears("message_error", "he does not")
    await bob["xep_0191"].unblock(JID("alice@localhost"))
    bob.never("message", lambda m: m["body"] == "do you hear?")
    done("blocking")


async def quiet(alice, bob):
    """XEP-0352: presence waits while nobody looks, and the last one counts; a message does not wait."""
    bob["xep_0352"].send_inactive()
    await bob["xep_0199"].ping(JID("localhost"))
    for status in ("rowing", "resting"):
        alice.send_presence(pstatus=status)
        await alice["xep_0199"].ping(JID("localhost"))
    alice.send_message("bob@localhost", "wake up", mtype="chat")
    await bob.hears("presence_available", "presence comes with the message", lambda p: p["status"] == "resting")
    await bob.reads("wake up")
    bob.never("presence_available", lambda p: p["status"] == "rowing")
    bob["xep_0352"].send_active()
    done("client state")


async def whole():
    alice, tablet, bob = Person("alice", "desk"), Person("alice", "tablet"), Person("bob", "phone")
    for p in (alice, tablet, bob):
        await p.on()
    await friends(alice, bob)
    await talk(alice, tablet, bob)
    bob = await away(alice, bob)
    await archive(alice, bob)
    await shelf(alice, bob)
    await file(alice, bob)
    await stream(alice, bob)
    await block(alice, bob)
    await quiet(alice, bob)
    await room(alice, bob)
    for p in (alice, tablet):
        await p.disconnect(wait=5)


asyncio.run(asyncio.wait_for(whole(), 50))

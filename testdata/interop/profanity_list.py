# SPDX-License-Identifier: Apache-2.0
"""profanity does all that it has, without encryption; slixmpp is at the other end.

It has no client state, no push and no vCards. What it shows counts; where it
shows nothing, its log of stanzas.
"""
import asyncio, os, re
from slixmpp import JID
from profanity_person import PROFRC, Profanity
from slixmpp_person import Slixmpp
from stage import until

ROOM = "shed@rooms.localhost"


class Plain(Profanity):
    settings = PROFRC.replace("policy=always", "policy=manual").replace("[ui]", "[chatstates]\nenabled=true\noutgoing=true\n\n[ui]")

    def __init__(self, stage, name):
        super().__init__(stage, name)
        self.known = True  # no keys

    async def shows(self, pattern, what):
        try:
            await until("profanity shows " + what, lambda: re.search(pattern, self.screen()))
        except TimeoutError as e:
            raise TimeoutError("%s; the screen:\n%s" % (e, self.screen()))

    async def does(self, command, pattern, what):
        """A command in the main window and what it shows."""
        self.type("/win 1")
        self.type(command)
        await self.shows(pattern, what)

    async def bobs(self):
        """Have the chat window with bob in front."""
        self.type("/msg bob@localhost")
        try:
            await until("the window of bob", lambda: self.title().startswith((" Bob", " bob@localhost")))
        except TimeoutError as e:
            raise TimeoutError("%s; the screen:\n%s" % (e, self.screen()))


class Bob(Slixmpp):
    def prepare(self, connection):
        for plugin in ("xep_0045", "xep_0085", "xep_0107", "xep_0163"):
            connection.register_plugin(plugin)


async def everything(stage):
    me, bob, laptop = Plain(stage, "alice"), Bob(stage, "bob"), Slixmpp(stage, "alice", "laptop")
    await me.on()
    await me.off()  # from the second login on it is a device
    for p in (bob, laptop, me):
        await p.on()
    c = bob.connection
    await friends(stage, me, c)
    await talk(stage, me, bob, laptop)
    await laptop.off()
    await away(stage, me, c)
    await room(stage, me, c)
    await services(stage, me, bob)
    await me.off()
    await bob.off()
    stage.server.stop()


async def friends(stage, me, c):
    await me.does("/roster add bob@localhost Bob", "Roster item added", "the new contact")
    await me.does("/sub request bob@localhost", "Sent subscription request to bob@localhost", "that it asked")
    await me.logged(r'RECV: <presence [^\n]*from="bob@localhost"[^\n]*type="subscribe"|RECV: <presence [^\n]*type="subscribe"[^\n]*from="bob@localhost"', "he asks back")
    await me.does("/sub allow bob@localhost", "Accepted subscription for bob@localhost", "that it allowed")
    await until("both know each other", lambda: c.client_roster["alice@localhost"]["subscription"] == "both")
    await me.does("/who online", r"Bob|bob@localhost", "who is there")
    stage.say("roster, subscriptions, presence")


async def talk(stage, me, bob, laptop):
    c = bob.connection
    copies = []
    laptop.connection.add_event_handler("carbon_sent", lambda m: copies.append(m["carbon_sent"]["body"]))
    await me.bobs()
    me.type("the gate is open")
    await until("bob reads", lambda: [h for h in bob.had if h[0] == "the gate is open"])
    await me.delivered("the gate is open")
    await until("the laptop has the copy", lambda: "the gate is open" in copies)
    m = c.make_message("alice@localhost", mtype="chat")
    m["chat_state"] = "composing"
    m.send()
    await me.logged(r"RECV: <message [^\n]*<composing", "it hears that he types")
    c.send_message("alice@localhost", "so I see", mtype="chat")
    await me.shows(r"Bob\S*: so I see", "his answer")
    laptop.connection.send_message("bob@localhost", "from the other desk", mtype="chat")
    await me.shows(r"me: from the other desk", "the copy")
    me.type("/correct the gate was open")
    await until("bob has the correction", lambda: [h for h in bob.had if h[0] == "the gate was open"])
    stage.say("message, receipt, typing, correction, copies both ways")


async def away(stage, me, c):
    await me.off()
    c.send_message("alice@localhost", "the ferry is late", mtype="chat")
    await c["xep_0199"].ping(JID("localhost"))
    await me.on()
    await me.shows(r"the ferry is late|chat message: (Bob|bob@localhost)", "that something waited")
    await me.bobs()
    await me.shows("the ferry is late", "what waited")
    await me.accepted(None)
    stage.say("offline")
    stage.server.kill()  # its socket is lost
    me.lost()
    c.abort()
    stage.server.start()
    await me.logged(r"RECV: <resumed ", "its stream goes on")
    c.connect("127.0.0.1", stage.server.port)
    resumed = asyncio.get_running_loop().create_future()
    c.add_event_handler("session_resumed", lambda _: resumed.done() or resumed.set_result(True), disposable=True)
    await asyncio.wait_for(resumed, 20)
    c.send_message("alice@localhost", "the rope is wet", mtype="chat")
    await me.shows("the rope is wet", "what came after")
    stage.say("resumption after the server was killed")
    await me.does("/ping", r"(?i)ping response|response from server", "the ping")
    await me.does("/mam on", r"(?i)mam.*enabled|message archive management.*enabled", "that it reads the archive")
    await me.does("/save", r"(?i)saving preferences", "that it will do so again")
    await me.off()
    os.remove(history(me))  # nothing of its own: what it shows next is from the archive
    await me.on()
    await me.logged(r"connection_features_received localhost", "it knows what the server has")
    await me.bobs()
    await me.logged(r"RECV: <message [^\n]*urn:xmpp:mam:2[^\n]*the ferry is late", "the archive")
    await me.shows("the rope is wet", "what was said before")
    stage.say("ping, archive")


def history(me):
    for root, _, files in os.walk(os.path.join(me.home, "data")):
        for name in files:
            if name == "chatlog.db":
                return os.path.join(root, name)
    raise AssertionError("profanity keeps no history")


async def room(stage, me, c):
    me.type("/join " + ROOM)
    await me.shows(r"(?i)room locked|requires configuration|accept", "the new room")
    me.type("/room accept")
    await me.shows(r"(?i)room unlocked|configuration accepted|now unlocked", "that it is open")
    heard = []
    c.add_event_handler("groupchat_message", lambda m: heard.append(m["body"]))
    await c["xep_0045"].join_muc_wait(JID(ROOM), "Bob", maxstanzas=0)
    await me.shows(r"Participants\s*\n[^\n]*Bob", "who came")
    me.type("who has the key?")
    await until("bob reads in the room", lambda: "who has the key?" in heard)
    c.send_message(ROOM, "it is under the trunk", mtype="groupchat")
    await me.shows(r"Bob: it is under the trunk", "the answer")
    me.type("/bookmark add")
    await me.shows(r"(?i)bookmark added", "the bookmark")
    c["xep_0045"].leave_muc(JID(ROOM), "Bob")
    await until("profanity shows who left", lambda: not re.search(r"Participants\s*\n[^\n]*Bob", me.screen()))
    stage.say("room, bookmark")


async def services(stage, me, bob):
    c, moods = bob.connection, []
    c.add_event_handler("user_mood_publish", lambda m: moods.append(m))
    me.type("/win 1")
    me.type("/mood set happy boats")
    await until("bob hears of the mood", lambda: moods)
    path = os.path.join(stage.room("files"), "boat.txt")
    with open(path, "w") as f:
        f.write("a boat\n" * 100)
    await me.bobs()
    me.type("/sendfile " + path)
    await until("bob has the link", lambda: [h for h in bob.had if h[0].startswith("https://")])
    await me.does("/disco info", r"urn:xmpp:http:upload:0", "what the server has")
    await me.does("/blocked add bob@localhost", r"(?i)blocked", "the block")
    c.send_message("alice@localhost", "do you hear?", mtype="chat")
    await c["xep_0199"].ping(JID("localhost"))
    if "do you hear?" in me.log():
        raise AssertionError("what is blocked came")
    stage.say("PEP, upload, disco, blocking")

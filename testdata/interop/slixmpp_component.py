# SPDX-License-Identifier: Apache-2.0
"""A stock component and a stock client (XEP-0114). Usage: slixmpp_component.py SIDE PORT CA PASSWORD_OF_ALICE PASSWORD_OF_BOB

One line for each thing that works; exit 0 only if all did.
"""
import asyncio, sys
from xml.etree import ElementTree
from slixmpp import ClientXMPP, ComponentXMPP
from stage import until

SIDE, PORT, CA, PASSWORD = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
PLUGINS = (30, 45, 92, 199)


def listens(program):
    program.heard = []
    for p in PLUGINS:
        program.register_plugin("xep_%04d" % p)
    for event in ("session_start", "message", "groupchat_message", "presence_available", "presence_unavailable", "changed_subscription", "disconnected"):
        program.add_event_handler(event, lambda what, e=event: program.heard.append((e, what)))


async def hears(program, event, what, fits=lambda e: True):
    def find():
        for i, (e, about) in enumerate(program.heard):
            if e == event and fits(about):
                return program.heard.pop(i)
    try:
        return (await until(what, find, 15))[1]
    except TimeoutError as e:
        raise TimeoutError("%s; it heard %s" % (e, [(k, str(v)[:300]) for k, v in program.heard]))


async def bot():
    b = ComponentXMPP("bot.localhost", "sesame", "127.0.0.1", SIDE)
    listens(b)
    b.auto_authorize, b.auto_subscribe = True, True
    b["xep_0030"].add_identity(category="component", itype="generic", name="Bot")
    b.add_event_handler("message", lambda m: m["type"] == "chat" and m.reply("you said " + m["body"]).send())
    b.connect()
    await hears(b, "session_start", "the component is in")
    return b


async def main():
    b = await bot()
    print("handshake", flush=True)
    alice = ClientXMPP("alice@localhost/x", PASSWORD)
    listens(alice)
    alice.ca_certs = CA
    alice.connect("127.0.0.1", PORT)
    await hears(alice, "session_start", "alice is in")
    await alice.get_roster()
    alice.send_presence()
    items = await alice["xep_0030"].get_items(jid="localhost")
    assert any(i[0] == "bot.localhost" for i in items["disco_items"]["items"]), items
    info = await alice["xep_0030"].get_info(jid="bot.localhost")
    assert ("component", "generic", None, "Bot") in info["disco_info"]["identities"], info
    print("disco", flush=True)
    alice.send_message("anyone@bot.localhost", "hello", mtype="chat")
    await hears(alice, "message", "the bot's answer", lambda m: m["body"] == "you said hello" and m["from"].bare == "anyone@bot.localhost")
    print("messages both ways", flush=True)
    assert await b["xep_0199"].ping("localhost", ifrom="bot.localhost") >= 0
    assert await alice["xep_0199"].ping("bot.localhost") >= 0
    print("pings both ways", flush=True)
    alice.send_presence_subscription("anyone@bot.localhost")
    await hears(alice, "changed_subscription", "the bot's yes", lambda p: p["type"] == "subscribed")
    b.send_presence(pto="alice@localhost", pfrom="anyone@bot.localhost/x")
    await hears(alice, "presence_available", "the bot's presence", lambda p: p["from"].bare == "anyone@bot.localhost")
    print("subscription and presence", flush=True)
    await alice["xep_0045"].join_muc_wait("tea@rooms.localhost", "Alice", maxchars=0)
    await alice["xep_0045"].set_room_config("tea@rooms.localhost", alice["xep_0004"].make_form("submit"))
    join = b.make_presence(pto="tea@rooms.localhost/Bot", pfrom="anyone@bot.localhost/x")
    ElementTree.SubElement(join.xml, "{http://jabber.org/protocol/muc}x")
    join.send()
    await hears(b, "presence_available", "the bot is in the room", lambda p: p["from"] == "tea@rooms.localhost/Bot")
    alice.send_message("tea@rooms.localhost", "all hear", mtype="groupchat")
    await hears(b, "message", "the bot hears the room", lambda m: m["type"] == "groupchat" and m["body"] == "all hear")
    print("a bot in a room", flush=True)
    await b.disconnect(wait=1)
    alice.send_message("anyone@bot.localhost", "later", mtype="chat")
    await alice["xep_0199"].ping("localhost")
    b = await bot()
    await hears(alice, "message", "what waited was read", lambda m: m["body"] == "you said later")
    print("what waits for a component that was away", flush=True)
    await alice.disconnect()
    await b.disconnect()


asyncio.run(asyncio.wait_for(main(), 60))

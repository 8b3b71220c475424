# SPDX-License-Identifier: Apache-2.0
"""Converse.js, as sottod serves it at /chat, in chromium: with sotto, and with itself."""
import os, struct, zlib
from browser import Browser
from converse_person import Converse
from sotto_person import Sotto
from stage import free_port, until

PEAR, PLUM, FIG, QUINCE, CHERRY = texts = [
    "the pear tree leans", "plums in the grass", "a fig from the wall", "quince for the jam", "the cherries are red"]
TWO = "urn:xmpp:omemo:2"
OUT = os.path.join(".tools", "out")  # where the pictures are kept


def options(**more):
    return {**more, "listen_https": ["127.0.0.1:%d" % free_port()], "web_chat": os.path.abspath(os.path.join(".tools", "chat.zip"))}


async def open_browser(stage):
    b = Browser(stage)
    await b.start()
    return b


SPONSORS = "https://conversejs.org/media/logos/"  # pictures of the log-in page, which our policy keeps away


def clean(stage, *people, but=SPONSORS):
    """No page complained of anything else, and none got anything from anybody else."""
    for x in people:
        ours = tuple(s + "://localhost:%s/" % stage.server.options["listen_https"][0].split(":")[1] for s in ("https", "wss")) + ("data:", "blob:")
        bad = [f for f in x.page.faults if SPONSORS not in f and but not in f]
        if bad:
            raise AssertionError("%s's page complains: %s" % (x.name, bad))
        got = [u for u in x.page.got if not u.startswith(ours)]
        if got:
            raise AssertionError("%s's page got %s" % (x.name, got))


async def picture(stage, person, name):
    os.makedirs(OUT, exist_ok=True)
    path = os.path.join(OUT, name + ".png")
    await person.page.picture(path)
    stage.say("%s's page is in %s" % (person.name, path))


async def talk(stage):
    """Both ways with sotto, encrypted; the server is killed; the page is loaded again."""
    browser, alice, bob = await open_browser(stage), Sotto(stage, "alice"), Converse(stage, "bob")
    await alice.on()
    await bob.on(browser)
    await bob.published()
    sent = await alice.write("bob", PEAR)
    await bob.open("alice")
    await bob.read(PEAR)
    await alice.delivered(sent)
    stage.say("alice wrote in sotto, bob read it in the browser; she has the receipt")
    await bob.secret()
    await bob.write(PLUM)
    wire = await alice.read("bob", PLUM)
    if wire != TWO:
        raise AssertionError("bob's page wrote on " + wire)
    await bob.ticked(PLUM)
    stage.say("bob wrote, alice read it (%s), and his page shows her receipt" % wire)
    stage.server.kill()
    alice.lost()
    await bob.lost()
    stage.server.start()
    await alice.back()
    sent = await alice.write("bob", FIG)
    await bob.read(FIG)
    await alice.delivered(sent)
    stage.say("the server was killed with -9; the page came back by itself, and bob read the next, once")
    await picture(stage, bob, "converse-talk")
    await bob.page.ask("Page.reload")
    await bob.back()
    await bob.open("alice")
    for text in (PEAR, FIG):
        await bob.read(text)
    await bob.read(PLUM)
    sent = await alice.write("bob", QUINCE)
    await bob.read(QUINCE)
    await bob.secret()
    await bob.write(CHERRY)
    await alice.read("bob", PLUM, CHERRY)
    stage.say("bob loaded the page again: he is in without a password, has the talk, and goes on")
    clean(stage, bob, but="ERR_CONNECTION_REFUSED")  # while the server was dead
    await until("the session of the page before to end, and its mail with it", lambda: stage.server.waiting() == 0)
    await alice.off()
    await leave(stage)


async def polls(stage):
    """The page over BOSH, as behind something that breaks WebSockets."""
    browser, alice, bob = await open_browser(stage), Sotto(stage, "alice"), Converse(stage, "bob")
    await alice.on()
    await bob.on(browser, way="?bosh")
    await bob.published()
    sent = await alice.write("bob", PEAR)
    await bob.open("alice")
    await bob.read(PEAR)
    await alice.delivered(sent)
    await bob.secret()
    await bob.write(PLUM)
    await alice.read("bob", PLUM)
    await bob.ticked(PLUM)
    stage.say("each read the other, bob over BOSH")
    clean(stage, bob)
    if any(u.startswith("wss:") for u in bob.page.got) or not any(u.endswith("/http-bind") for u in bob.page.got):
        raise AssertionError("it was not over BOSH: %s" % bob.page.got[-5:])
    await until("all to be acked", lambda: stage.server.waiting() == 0)
    await alice.off()
    await leave(stage)


async def group(stage):
    """Two browsers: a private group, encrypted, and a picture in it."""
    browser = await open_browser(stage)
    alice, bob = Converse(stage, "alice"), Converse(stage, "bob")
    for x in (alice, bob):
        await x.on(browser)
        await x.published()
    await alice.enter("Orchard")
    await alice.make_private()
    await alice.write("/member bob@localhost")
    await bob.enter("Orchard")
    await alice.secret(click=True)  # the room was none for secrets when she entered
    await bob.secret()
    await alice.write(PEAR)
    await bob.read(PEAR)
    await bob.write(PLUM)
    await alice.read(PLUM)
    stage.say("alice made a private group, bob entered, and each read the other, encrypted")
    path = os.path.join(stage.room("files"), "pear.png")
    with open(path, "wb") as f:
        f.write(drawing(240, 160))
    await bob.upload(path)
    for x in (bob, alice):
        await x.sees(240)
    stage.say("bob sent a picture: it went up encrypted, and both pages show it")
    await picture(stage, alice, "converse-group")
    clean(stage, alice, bob)
    await leave(stage)


async def leave(stage):
    stage.server.stop()
    stage.say("sottod check: " + stage.server.forgotten(texts))


def drawing(width, height):
    """A picture as PNG (RFC 2083): a green pear on a light ground."""
    rows = b""
    for y in range(height):
        rows += b"\0"
        for x in range(width):
            u, v = (x - width / 2) / (height / 2), (y - height / 2) / (height / 2)
            inside = u * u + (v - 0.3) ** 2 < 0.3 or (1.5 * u) ** 2 + (v + 0.3) ** 2 < 0.22
            rows += bytes((150, 190, 60) if inside else (245, 242, 230))
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))

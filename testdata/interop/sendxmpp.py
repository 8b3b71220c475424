# SPDX-License-Identifier: Apache-2.0
"""go-sendxmpp, which does not know OMEMO: taken where readable text is, refused elsewhere."""
import asyncio, os, ssl, urllib.request
from slixmpp import JID
from slixmpp_person import Slixmpp
from stage import until

TRUNK, KITE, GULL = "the key is under the trunk", "the kite flew off", "a gull took the bread"


def start(stage, *options, direct=False, trust=True, to="bob@localhost"):
    """One go-sendxmpp of alice's that writes to bob, or to a room."""
    server = stage.server
    env = {"PATH": os.environ["PATH"], "HOME": stage.room("go-sendxmpp")}
    if trust:
        env["SSL_CERT_FILE"] = server.ca
    at = "localhost:%d" % (server.tls_port if direct else server.port)
    return asyncio.create_subprocess_exec(
        "go-sendxmpp", "-u", "alice@localhost", "-p", server.password("alice"), "-j", at, *(["-t"] if direct else []), *options,
        to, env=env, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)


async def send(stage, text, *options, **how):
    p = await start(stage, *options, **how)
    out, _ = await asyncio.wait_for(p.communicate(text.encode()), 20)
    return p.returncode, out.decode().strip()


async def taken(stage):
    """e2e = "optional": it sends by STARTTLS and by TLS, to one who is away and to one who is there."""
    bob = Slixmpp(stage, "bob")
    for _ in range(2):
        await bob.on()
        await bob.off()
    code, out = await send(stage, TRUNK, trust=False)
    if code == 0:
        raise AssertionError("go-sendxmpp took a certificate that it has no reason to trust")
    stage.say("without our authority it refuses the certificate: " + out)
    for text, direct in ((TRUNK, False), (KITE, True)):
        code, out = await send(stage, text, direct=direct)
        if code != 0:
            raise AssertionError("go-sendxmpp: exit %d: %s" % (code, out))
    stage.say("it sent by STARTTLS and by TLS")
    await bob.on()
    stage.say("bob came back and read both (%s)" % await bob.read("alice", TRUNK, KITE))
    await send(stage, GULL)
    stage.say("bob read the next (%s)" % await bob.read("alice", GULL))
    await bob.off()
    stage.server.stop()
    stage.say("sottod check: " + stage.server.forgotten([TRUNK, KITE, GULL]))


async def refused(stage):
    """e2e = "required": it is told why, and nothing is kept."""
    p = await start(stage, "-d", "-i")  # debug shows what it is told; -i keeps it there to hear it
    heard = bytearray()

    async def hear():
        while piece := await p.stdout.read(4096):
            heard.extend(piece)
    hearing = asyncio.ensure_future(hear())
    p.stdin.write(TRUNK.encode() + b"\n")
    await until("go-sendxmpp is told", lambda: b"only end-to-end encrypted messages" in heard)
    if b"<policy-violation" not in heard or stage.server.waiting() != 0:
        raise AssertionError("no clear error, or something was kept: " + heard.decode())
    stage.say("it was told: policy-violation, this server takes only end-to-end encrypted messages")
    p.kill()
    await p.wait()
    await hearing
    stage.server.stop()
    stage.say("sottod check: " + stage.server.forgotten([TRUNK]))


def fine(code, out):
    """This release dies of a ping (XEP-0199), as of every question that is not a <query/>, which any server may ask; what it did until then counts."""
    if code != 0 and "main.rcvStanzas" not in out:
        raise AssertionError("go-sendxmpp: exit %d: %s" % (code, out))


async def all_else(stage):
    """What else it has: rooms, files, a key of OpenPGP on its shelf. It has no roster, receipts, copies, resumption or archive, and cannot listen here (see fine)."""
    bob = Slixmpp(stage, "bob")
    await bob.on()
    c, room = bob.connection, "shed@rooms.localhost"
    for p in ("xep_0045", "xep_0060", "xep_0066"):
        c.register_plugin(p)
    await c["xep_0045"].join_muc_wait(JID(room), "Bob", maxstanzas=0)
    form = await c["xep_0045"].get_room_config(room)
    form["type"] = "submit"
    await c["xep_0045"].set_room_config(room, form)
    code, out = await send(stage, TRUNK, "-c", "-a", "Alice", to=room)
    fine(code, out)
    stage.say("bob read in the room (%s)" % await bob.read("shed", TRUNK))
    path = os.path.join(stage.room("files"), "kite.txt")
    with open(path, "w") as f:
        f.write(KITE)
    code, out = await send(stage, "", "-h", path)
    if code != 0:
        raise AssertionError("go-sendxmpp: exit %d: %s" % (code, out))
    url = (await until("bob has the link", lambda: [h[0] for h in bob.had if h[0].startswith("https://")]))[0]
    got = await asyncio.to_thread(lambda: urllib.request.urlopen(url, context=ssl.create_default_context(cafile=stage.server.ca)).read())
    if got.decode() != KITE:
        raise AssertionError("another file: %r" % got)
    stage.say("it uploaded a file, bob has it")
    code, out = await send(stage, "", "--ox-genprivkey-x25519", "--ox-passphrase", "boat")
    items = await c["xep_0060"].get_items(JID("alice@localhost"), "urn:xmpp:openpgp:0:public-keys")
    if code != 0 or "pubkey-metadata" not in str(items):
        raise AssertionError("no key: %d %s %s" % (code, out, items))
    stage.say("it published a key (XEP-0373), bob found it")
    await bob.off()
    stage.server.stop()
    stage.say("sottod check: " + stage.server.forgotten([TRUNK]))

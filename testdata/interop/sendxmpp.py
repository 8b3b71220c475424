# SPDX-License-Identifier: Apache-2.0
"""go-sendxmpp, which does not know OMEMO: taken where readable text is, refused elsewhere."""
import asyncio, os
from slixmpp_person import Slixmpp
from stage import until

TRUNK, KITE, GULL = "the key is under the trunk", "the kite flew off", "a gull took the bread"


def start(stage, *options, direct=False, trust=True):
    """One go-sendxmpp of alice's that writes to bob."""
    server = stage.server
    env = {"PATH": os.environ["PATH"], "HOME": stage.room("go-sendxmpp")}
    if trust:
        env["SSL_CERT_FILE"] = server.ca
    at = "localhost:%d" % (server.tls_port if direct else server.port)
    return asyncio.create_subprocess_exec(
        "go-sendxmpp", "-u", "alice@localhost", "-p", server.password("alice"), "-j", at, *(["-t"] if direct else []), *options,
        "bob@localhost", env=env, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)


async def send(stage, text, **how):
    p = await start(stage, **how)
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

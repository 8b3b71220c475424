# SPDX-License-Identifier: Apache-2.0
"""Stock clients that do all that they can, each as a program of its own."""
import asyncio, os, subprocess, sys
from stage import free_port

HERE = os.path.dirname(__file__)


def options():
    return {"e2e": "optional", "mode": "keep", "listen_https": ["127.0.0.1:%d" % free_port()], "listen_proxy": ["127.0.0.1:%d" % free_port()]}


def need_nbxmpp():
    if subprocess.run(["/usr/bin/python3", "-c", "import nbxmpp"], stderr=subprocess.DEVNULL).returncode != 0:
        raise RuntimeError("nbxmpp is missing; apt-get install -y python3-nbxmpp gir1.2-soup-3.0 glib-networking")


async def run(stage, *program):
    """Run it to its end; it prints a line for each thing that works."""
    server = stage.server
    p = await asyncio.create_subprocess_exec(
        *program, str(server.port), server.ca, server.password("alice"), server.password("bob"),
        env={**os.environ, "SSL_CERT_FILE": server.ca, "HOME": stage.room("home")}, stdout=asyncio.subprocess.PIPE)
    stage.exits.callback(lambda: p.returncode is None and p.kill())
    while line := await p.stdout.readline():
        stage.say(line.decode().strip())
    if await p.wait() != 0:
        raise AssertionError("%s: exit %d" % (program[-1], p.returncode))
    server.stop()


async def slixmpp(stage):
    await run(stage, sys.executable, "-W", "ignore", os.path.join(HERE, "slixmpp_list.py"))


SIDE = free_port()


def beside():
    return {"e2e": "optional", "components": ["bot.localhost sesame"], "listen_components": ["127.0.0.1:%d" % SIDE]}


async def component(stage):
    await run(stage, sys.executable, "-W", "ignore", os.path.join(HERE, "slixmpp_component.py"), str(SIDE))


async def nbxmpp(stage):
    need_nbxmpp()
    await run(stage, "/usr/bin/python3", "-W", "ignore", os.path.join(HERE, "nbxmpp_list.py"))  # Debian's: it needs GLib

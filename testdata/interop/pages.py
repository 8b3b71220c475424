# SPDX-License-Identifier: Apache-2.0
"""Libraries for pages, in node: xmpp.js (@xmpp/client), stanza.js and strophe.js, over WebSocket and BOSH."""
import asyncio, os
from stage import free_port

MODULES = os.path.join(".tools", "node", "node_modules")


def options():
    return {"e2e": "optional", "mode": "keep", "listen_https": ["127.0.0.1:%d" % free_port()]}


def does(library, way):
    """The library does the whole list on this way."""
    async def script(stage):
        await node(stage, library, way)
    return script


async def node(stage, library, way):
    server = stage.server
    env = {**os.environ, "NODE_EXTRA_CA_CERTS": server.ca, "NODE_NO_WARNINGS": "1"}
    p = await asyncio.create_subprocess_exec(
        "node", "--experimental-websocket", os.path.join(os.path.dirname(__file__), "page_list.mjs"), library, way, os.path.abspath(MODULES),
        "https://localhost:%s" % server.options["listen_https"][0].split(":")[1], server.password("alice"), server.password("bob"),
        env=env, stdout=asyncio.subprocess.PIPE)
    try:
        while line := await p.stdout.readline():
            stage.say(line.decode().strip())
        if await p.wait() != 0:
            raise AssertionError("%s over %s: exit %d" % (library, way, p.returncode))
    finally:
        if p.returncode is None:
            p.kill()
    server.stop()

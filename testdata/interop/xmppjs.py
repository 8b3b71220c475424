# SPDX-License-Identifier: Apache-2.0
"""xmpp.js (@xmpp/client) and stanza.js in node, over WebSocket, BOSH and HTTPS."""
import asyncio, os
from stage import free_port

MODULES = os.path.join(".tools", "node", "node_modules")
TEXTS = ["the boat is green", "the oars are red", "the anchor holds"]


def options():
    return {"e2e": "optional", "listen_https": ["127.0.0.1:%d" % free_port()]}


async def page(stage):
    """xmpp.js finds the WebSocket, logs in, talks, loses the network, comes back, uploads."""
    await run(stage, "xmppjs.mjs")


async def poll(stage):
    """stanza.js talks over WebSocket and over BOSH."""
    await run(stage, "stanzajs.mjs")


async def run(stage, script):
    server = stage.server
    env = {**os.environ, "NODE_EXTRA_CA_CERTS": server.ca, "NODE_NO_WARNINGS": "1"}
    p = await asyncio.create_subprocess_exec(
        "node", "--experimental-websocket", os.path.join(os.path.dirname(__file__), script), os.path.abspath(MODULES),
        "https://localhost:%s" % server.options["listen_https"][0].split(":")[1], server.password("alice"), server.password("bob"),
        env=env, stdout=asyncio.subprocess.PIPE)
    try:
        while line := await p.stdout.readline():
            stage.say(line.decode().strip())
        if await p.wait() != 0:
            raise AssertionError("%s: exit %d" % (script, p.returncode))
    finally:
        if p.returncode is None:
            p.kill()
    server.stop()
    stage.say("sottod check: " + server.forgotten(TEXTS))

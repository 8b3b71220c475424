# SPDX-License-Identifier: Apache-2.0
"""Strangers' clients use sottod. Usage: run.py BIN_FOLDER [PLAY ...]

Without names it runs all plays. Exit 0 only if all of them passed.
"""
import logging, os, sys, time
import archive, converse, devices, lists, pages, profanity_list, sendxmpp
from profanity_person import Profanity
from slixmpp_person import Slixmpp
from sotto_person import Sotto
from twomemo_person import Twomemo
from stage import SECONDS, finish, need, play
from talk import talk

PAIRS = [(Sotto, Sotto), (Sotto, Slixmpp), (Slixmpp, Sotto), (Sotto, Twomemo), (Twomemo, Sotto), (Sotto, Profanity),
         (Profanity, Sotto), (Slixmpp, Profanity), (Profanity, Slixmpp), (Slixmpp, Slixmpp)]

WHOLE = 420  # seconds for all plays together


def plays():
    """Each play: its name, what it does on a stage, and the server's options."""
    for a, b in PAIRS:
        async def script(stage, a=a, b=b):
            await talk(stage, a(stage, "alice"), b(stage, "bob"))
        yield "%s-%s" % (a.program, b.program), script, {}
    yield "four-devices", devices.four, {}
    yield "mixed-wires", devices.mixed, {}
    yield "archive-keep", archive.keep, {"e2e": "optional", "mode": "keep"}
    yield "archive-forget", archive.forget, {"e2e": "optional"}
    yield "go-sendxmpp-taken", sendxmpp.taken, {"e2e": "optional"}
    yield "xmppjs-websocket", pages.does("xmppjs", "websocket"), pages.options()
    yield "stanzajs-websocket", pages.does("stanzajs", "websocket"), pages.options()
    yield "stanzajs-bosh", pages.does("stanzajs", "bosh"), pages.options()
    yield "strophe-websocket", pages.does("strophe", "websocket"), pages.options()
    yield "strophe-bosh", pages.does("strophe", "bosh"), pages.options()
    yield "slixmpp-list", lists.slixmpp, lists.options()
    yield "slixmpp-component", lists.component, lists.beside()
    yield "nbxmpp-list", lists.nbxmpp, lists.options()
    yield "converse-talk", converse.talk, converse.options(resume="8s")
    yield "converse-bosh", converse.polls, converse.options()
    yield "converse-group", converse.group, converse.options()
    yield "profanity-list", profanity_list.everything, lists.options()
    yield "go-sendxmpp-list", sendxmpp.all_else, lists.options()
    yield "go-sendxmpp-refused", sendxmpp.refused, {"e2e": "required"}


def main():
    logging.basicConfig(level=os.environ.get("LOG", "CRITICAL"))
    need("tmux", "profanity", "openssl", "go-sendxmpp", "node", "chromium")
    binary, wanted = os.path.join(sys.argv[1], "sottod"), sys.argv[2:]
    end, results = time.monotonic() + WHOLE, {}
    for name, script, options in plays():
        if not wanted or name in wanted:
            results[name] = play(name, binary, script, min(SECONDS, int(end - time.monotonic())), **options)
    finish(results)


main()

# SPDX-License-Identifier: Apache-2.0
"""Strangers' clients use sottod. Usage: run.py BIN_FOLDER [PLAY ...]

Without names it runs all plays. Exit 0 only if all of them passed.
"""
import logging, os, sys
import sendxmpp
from profanity_person import Profanity
from slixmpp_person import Slixmpp
from sotto_person import Sotto
from stage import finish, need, play
from talk import talk

PROGRAMS = [Sotto, Slixmpp, Profanity]


def plays():
    """Each play: its name, what it does on a stage, and the server's options."""
    for a in PROGRAMS:
        for b in PROGRAMS:
            if a is b and a is not Slixmpp:
                continue  # profanity with itself proves nothing about us

            async def script(stage, a=a, b=b):
                await talk(stage, a(stage, "alice"), b(stage, "bob"))
            yield "%s-%s" % (a.program, b.program), script, {}
    yield "go-sendxmpp-taken", sendxmpp.taken, {"e2e": "optional"}
    yield "go-sendxmpp-refused", sendxmpp.refused, {"e2e": "required"}


def main():
    logging.basicConfig(level=os.environ.get("LOG", "CRITICAL"))
    need("tmux", "profanity", "openssl", "go-sendxmpp")
    binary, wanted = os.path.join(sys.argv[1], "sottod"), sys.argv[2:]
    finish({name: play(name, binary, script, **options)
            for name, script, options in plays() if not wanted or name in wanted})


main()

# SPDX-License-Identifier: Apache-2.0
"""Smack's integration suite against sottod. Usage: sint.py BIN_FOLDER SUITE_FOLDER

The suite's folder has a run.sh; it is no part of this project. Two runs: three
ready accounts for all that fits the server, then accounts made in band for what
looks at single streams. Exit 0 only if no test failed.
"""
import asyncio, os, re, sys
from stage import finish, need, play

ROOMS = "XEP-0045,XEP-0410,XEP-0421"
THINGS = "XEP-0347"  # its tests race with their own clean-up of subscriptions
WHOLE = "RFC6121,XEP-0030"  # the first run has them
# It wants somebody without affiliation to read the owners' addresses in a room that hides addresses (XEP-0045 §4.2).
WRONG = "MultiUserChatOwnerIntegrationTest.testRoomHasOwnerAfterOriginalOwnerLeaves"
RUNS = (("with three accounts", ["--disable-spec", THINGS, "--disable-test", WRONG]),
        ("with accounts made in band", ["--disable-spec", ",".join((ROOMS, THINGS, WHOLE))]))


async def run(stage, suite, options):
    server, out = stage.server, stage.room("sint")
    p = await asyncio.create_subprocess_exec(
        os.path.join(suite, "run.sh"), "127.0.0.1", str(server.port), "localhost", "--tls", "--out", out, *options,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True)
    stage.exits.callback(lambda: p.returncode is None and os.killpg(p.pid, 9))
    text = (await p.communicate())[0].decode(errors="replace")
    for line in re.findall(r"(?m)^(?:FAIL|SPEC|TOTAL) .*$", text):
        stage.say(line[:300])
    total = re.search(r"TOTAL run (\d+) pass (\d+) fail (\d+) impossible (\d+)", text)
    if not total:
        raise RuntimeError("the suite came to no end:\n" + text[-2000:])
    return [int(n) for n in total.groups()]


async def sint(stage):
    people = []
    for name in ("one", "two", "three"):
        stage.server.ask("user", "add", name, stdin="passw-%s\n" % name)
        people.append("%s:passw-%s" % (name, name))
    accounts = (["--accounts", ",".join(people)], [])
    sums = [0, 0, 0, 0]
    for (what, options), who in zip(RUNS, accounts):
        stage.say("the suite " + what)
        sums = [a + b for a, b in zip(sums, await run(stage, suite, [*who, *options]))]
    stage.say("%d run, %d passed, %d failed, %d impossible" % tuple(sums))
    if sums[2]:
        raise AssertionError("%d tests of the suite failed" % sums[2])
    stage.server.stop()


need("java", "mvn")
binary, suite = os.path.join(sys.argv[1], "sottod"), os.path.abspath(sys.argv[2])
finish({"sint": play("sint", binary, sint, 600, e2e="optional", register=True, room_history=20, mode="keep", stranger_words=0)})

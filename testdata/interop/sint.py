# SPDX-License-Identifier: Apache-2.0
"""Smack's integration suite against sottod. Usage: sint.py BIN_FOLDER SUITE_FOLDER

The suite's folder has a run.sh; it is no part of this project. Two runs of the
whole suite: where histories are kept, with accounts that an admin makes
(XEP-0133), and where all is forgotten, with accounts made in band (XEP-0077).
Exit 0 only if no test failed but those named in WRONG.
"""
import asyncio, os, re, sys
from stage import finish, free_port, need, play

# What is left out. Smack passes over a whole class when one test of it is
# switched off, so single tests are not.
LEFT_OUT = {
    "XEP-0347": "sensors: tests of clients among themselves, which race with the clean-up of their own subscriptions",
}
# Where nothing is archived, whatever one chooses (XEP-0441 §2.3), Smack ends the run: it takes the name space of the
# answer for that of what is in it (MamManager.MamPrefs).
NO_ARCHIVE = {"XEP-0313": "Smack ends with an exception when a server does not archive all (XEP-0441 §2.3)"}
# What may fail, and the clause that makes it wrong.
WRONG = {
    "MultiUserChatOwnerIntegrationTest.testRoomHasOwnerAfterOriginalOwnerLeaves":
        "XEP-0045 §4.2: it reads the owners' addresses, without affiliation, in a room that hides addresses",
    "ServiceAdministrationIntegrationTest.testSetWelcome":
        "XEP-0133 §4.25: it waits for the welcome on a connection that it never opens",
    "ServiceAdministrationIntegrationTest.testDeleteWelcome":
        "XEP-0133 §4.27: it calls the command of §4.25, and wants no form",
    "RFC6121Section2_5_DeleteIntegrationTest.testRosterDeleteResult":
        "RFC 6121 §2.5.3: now and then its clean-up removes a contact once more, before Smack has heard that it is gone",
}
# Each test of these begins by ending the subscriptions of the one before, whose client answers that by itself, late: the
# "unsubscribed" then meets the next request on its way, and what follows is ignored (RFC 6121 §3.1.6, A.3). Tests come
# in another order each time. One that fails is run once more with its class alone, in a few orders.
RACES = {"RosterIntegrationTest", "SubscriptionIntegrationTest"}
ORDERS = 5


async def suite_run(stage, suite, options):
    out = stage.room("sint")
    p = await asyncio.create_subprocess_exec(
        os.path.join(suite, "run.sh"), "127.0.0.1", str(stage.server.port), "localhost", "--tls", "--out", out, "--timeout", "10000",
        *options,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True)
    stage.exits.callback(lambda: p.returncode is None and os.killpg(p.pid, 9))
    text = (await p.communicate())[0].decode(errors="replace")
    if not re.search(r"TOTAL run \d+", text):
        raise RuntimeError("the suite came to no end:\n" + text[-2000:])
    return text, re.findall(r"(?m)^FAIL .*?([\w$]+\.\w+) \(", text)


async def alone(stage, suite, test, options):
    """Whether a test passes in one of a few orders of its class."""
    for _ in range(ORDERS):
        _, failed = await suite_run(stage, suite, ["--enable-test", test.split(".")[0], *options])
        stage.say("again: %s %s" % (test, "failed" if test in failed else "passed"))
        if test not in failed:
            return True
    return False


async def run(stage, suite, left_out, options):
    text, failed = await suite_run(stage, suite, ["--disable-spec", ",".join(left_out), *options])
    for line in re.findall(r"(?m)^(?:FAIL|IMPOSSIBLE|SPEC|TOTAL) .*$", text):
        stage.say(line[:200])
    for name, why in [*left_out.items(), *((t, WRONG[t]) for t in failed if t in WRONG)]:
        stage.say("not counted: %s: %s" % (name, why))
    bad = [t for t in failed if t not in WRONG]
    bad = [t for t in bad if t.split(".")[0] not in RACES or not await alone(stage, suite, t, options)]
    if bad or len(re.findall(r"(?m)^PASS ", text)) < 800:
        raise AssertionError("failed: %s" % (", ".join(bad) or "too few tests could run"))


async def kept(stage):
    stage.server.ask("user", "add", "boss", stdin="passw-boss\n")
    stage.server.ask("admin", "add", "boss")
    await run(stage, suite, LEFT_OUT, ["--admin", "boss:passw-boss"])
    stage.server.stop()


async def forgotten(stage):
    await run(stage, suite, {**LEFT_OUT, **NO_ARCHIVE}, [])
    stage.server.stop()


def here(**options):
    """The suite's people write to strangers without a pause, and one of its connections never logs in."""
    return dict(e2e="optional", room_history=20, stranger_words=0, login_time="30m", listen_https=["127.0.0.1:%d" % free_port()], **options)


need("java", "mvn")
binary, suite = os.path.join(sys.argv[1], "sottod"), os.path.abspath(sys.argv[2])
finish({"kept": play("kept", binary, kept, 1500, **here(mode="keep")),
        "forgotten": play("forgotten", binary, forgotten, 1500, **here(mode="forget", register=True))})

# SPDX-License-Identifier: Apache-2.0
"""Smack's integration suite against sottod. Usage: sint.py BIN_FOLDER SUITE_FOLDER

The suite's folder has a run.sh; it is no part of this project. Two runs of the
whole suite: where histories are kept, with accounts that an admin makes
(XEP-0133), and where all is forgotten, with accounts made in band (XEP-0077).
Exit 0 only if no test failed but those named in WRONG.
"""
import asyncio, os, re, sys
from stage import finish, free_port, need, play

# What is left out, or may fail, and the clause that makes it wrong.
THINGS = "XEP-0347"  # sensors: three tests of clients among themselves, which race with the clean-up of their own subscriptions
WRONG = {
    "MultiUserChatOwnerIntegrationTest.testRoomHasOwnerAfterOriginalOwnerLeaves":
        "XEP-0045 §4.2: it reads the owners' addresses, without affiliation, in a room that hides addresses",
    "ServiceAdministrationIntegrationTest.testSetWelcome":
        "XEP-0133 §4.25: it waits for the welcome on a connection that it never opens",
    "ServiceAdministrationIntegrationTest.testDeleteWelcome":
        "XEP-0133 §4.27: it calls the command of §4.25, and wants no form",
}
# Its clean-up asks for the removal of a contact that the test has removed, if
# Smack has not heard of that yet; there is none any more (RFC 6121 §2.5.3).
RACES = {"RFC6121Section2_5_DeleteIntegrationTest.testRosterDeleteResult"}


async def run(stage, suite, options):
    out = stage.room("sint")
    p = await asyncio.create_subprocess_exec(
        os.path.join(suite, "run.sh"), "127.0.0.1", str(stage.server.port), "localhost", "--tls", "--out", out,
        "--disable-spec", THINGS, "--disable-test", ",".join(WRONG), *options,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True)
    stage.exits.callback(lambda: p.returncode is None and os.killpg(p.pid, 9))
    text = (await p.communicate())[0].decode(errors="replace")
    for line in re.findall(r"(?m)^(?:FAIL|IMPOSSIBLE|SPEC|TOTAL) .*$", text):
        stage.say(line[:200])
    if not re.search(r"TOTAL run \d+", text):
        raise RuntimeError("the suite came to no end:\n" + text[-2000:])
    for test, clause in WRONG.items():
        stage.say("left out: %s: %s" % (test, clause))
    failed = [name for name in re.findall(r"(?m)^FAIL .*?([\w$]+\.\w+) \(", text) if name not in RACES]
    if failed or len(re.findall(r"(?m)^PASS ", text)) < 800:
        raise AssertionError("failed: %s" % (", ".join(failed) or "too few tests could run"))


async def kept(stage):
    stage.server.ask("user", "add", "boss", stdin="passw-boss\n")
    stage.server.ask("admin", "add", "boss")
    await run(stage, suite, ["--admin", "boss:passw-boss"])
    stage.server.stop()


async def forgotten(stage):
    await run(stage, suite, [])
    stage.server.stop()


def here(**options):
    """The suite's people write to strangers without a pause, and one of its connections never logs in."""
    return dict(e2e="optional", room_history=20, stranger_words=0, login_time="30m", listen_https=["127.0.0.1:%d" % free_port()], **options)


need("java", "mvn")
binary, suite = os.path.join(sys.argv[1], "sottod"), os.path.abspath(sys.argv[2])
finish({"kept": play("kept", binary, kept, 1500, **here(mode="keep")),
        "forgotten": play("forgotten", binary, forgotten, 1500, **here(mode="forget", register=True))})

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two stock slixmpp-omemo clients talk through sottod, encrypted.

Bob comes once to publish his keys and leaves. Alice writes while he is away.
The server is killed with -9 and started again. Bob comes back, reads, answers.
Usage: omemo_talk.py SOTTOD_BINARY     exit 0 only if all of it worked.
"""
import asyncio, json, logging, os, shutil, signal, socket, ssl, subprocess, sys, tempfile, time
from slixmpp import ClientXMPP, JID
from slixmpp.plugins import register_plugin
from slixmpp_omemo import XEP_0384, TrustLevel
from omemo.storage import Just, Nothing, Storage

SECRET = "the marshmallow is in the blue tent"
t0 = time.time()


def say(text):
    print("%6.2f s  %s" % (time.time() - t0, text), flush=True)


class File(Storage):
    def __init__(self, path):
        super().__init__()
        self.path, self.data = path, {}
        if os.path.exists(path):
            self.data = json.load(open(path))

    async def _load(self, key):
        return Just(self.data[key]) if key in self.data else Nothing()

    async def _store(self, key, value):
        self.data[key] = value
        json.dump(self.data, open(self.path, "w"))

    async def _delete(self, key):
        self.data.pop(key, None)


class Omemo(XEP_0384):
    default_config = {"fallback_message": "This message is encrypted.", "path": None}

    def plugin_init(self):
        self.file = File(self.path)
        super().plugin_init()

    @property
    def storage(self):
        return self.file

    @property
    def _btbv_enabled(self):
        return True

    async def _prompt_manual_trust(self, manually_trusted, identifier):
        sm = await self.get_session_manager()
        for d in manually_trusted:
            await sm.set_trust(d.bare_jid, d.identity_key, TrustLevel.TRUSTED.value)


register_plugin(Omemo)


class Person(ClientXMPP):
    def __init__(self, name, password, folder, ca):
        super().__init__("%s@localhost/phone" % name, password)
        for p in ("xep_0030", "xep_0199", "xep_0198", "xep_0280", "xep_0334", "xep_0380"):
            self.register_plugin(p)
        self.register_plugin("xep_0384", {"path": os.path.join(folder, name + ".json")}, module=sys.modules[__name__])
        self.ca_certs = ca
        self.read = asyncio.Queue()
        self.ready = asyncio.Event()
        self.add_event_handler("session_start", self.start)
        self.add_event_handler("message", self.got)
        self.add_event_handler("omemo_initialized", lambda *_: self.ready.set())

    async def start(self, _):
        self.send_presence()
        await self.get_roster()

    async def got(self, m):
        omemo = self["xep_0384"]
        ns = omemo.is_encrypted(m)
        if ns is None:
            return
        text, device = await omemo.decrypt_message(m)
        if text["body"]:
            await self.read.put((ns, text["body"]))

    async def write(self, to, text):
        omemo = self["xep_0384"]
        m = self.make_message(mto=JID(to), mtype="chat")
        m["body"] = text
        sent, errors = await omemo.encrypt_message(m, {JID(to)})
        if errors:
            raise RuntimeError(errors)
        sent.send()
        return [c.tag.split("}")[0][1:] for c in sent.xml if c.tag.endswith("encrypted")]

    async def on(self, port):
        self.connect("127.0.0.1", port)
        await asyncio.wait_for(self.ready.wait(), 30)

    async def off(self):
        await self.disconnect(wait=2)


class Server:
    def __init__(self, binary, folder):
        s = socket.socket(); s.bind(("127.0.0.1", 0)); self.port = s.getsockname()[1]; s.close()
        self.args = [binary, "--config", os.path.join(folder, "c.toml"), "dev"]
        self.data = os.path.join(folder, "data")
        with open(os.path.join(folder, "c.toml"), "w") as f:
            f.write('data = "%s"\nlisten = ["127.0.0.1:%d"]\nlisten_tls = ["127.0.0.1:0"]\n' % (self.data, self.port))

    def start(self):
        self.p = subprocess.Popen(self.args, stdout=subprocess.PIPE, text=True)
        for line in self.p.stdout:
            if "trust" in line:
                return

    def kill(self):
        self.p.send_signal(signal.SIGKILL)
        self.p.wait()

    def stop(self):
        self.p.send_signal(signal.SIGTERM)
        return self.p.wait(20)

    def password(self, name):
        return open(os.path.join(self.data, "dev", name + ".password")).read().strip()


async def play(binary, folder):
    srv = Server(binary, folder)
    srv.start()
    person = lambda name: Person(name, srv.password(name), folder, os.path.join(srv.data, "tls", "ca.pem"))
    bob = person("bob"); await bob.on(srv.port); await bob.off()
    bob = person("bob"); await bob.on(srv.port); await bob.off()  # from the second login on it is a device
    say("bob published his keys and left")
    alice = person("alice"); await alice.on(srv.port)
    ns = await alice.write("bob@localhost", SECRET)
    await asyncio.sleep(1)
    say("alice wrote to bob, who is away, in %s" % ", ".join(ns))
    srv.kill(); say("the server was killed")
    alice.abort()
    srv.start(); say("and started again")
    bob = person("bob"); await bob.on(srv.port)
    got = await asyncio.wait_for(bob.read.get(), 20)
    assert got[1] == SECRET, got
    say("bob read: %s" % got[1])
    alice = person("alice"); await alice.on(srv.port)
    await bob.write("alice@localhost", "so it is")
    got = await asyncio.wait_for(alice.read.get(), 20)
    assert got[1] == "so it is", got
    say("alice read the answer")
    await alice.off(); await bob.off()
    assert srv.stop() == 0
    left = subprocess.run(srv.args[:-1] + ["check"], capture_output=True, text=True)
    say("sottod check: " + left.stdout.strip())
    assert left.returncode == 0 and "waiting messages 0" in left.stdout, left
    for root, _, files in os.walk(srv.data):
        for f in files:
            try:
                b = open(os.path.join(root, f), "rb").read()
            except OSError:
                continue
            assert SECRET.encode() not in b and b"eu.siacs" not in b, f
    say("nothing of it is in the data folder")


def main():
    logging.basicConfig(level=os.environ.get("LOG", "ERROR"))
    folder = tempfile.mkdtemp()
    try:
        asyncio.run(asyncio.wait_for(play(os.path.abspath(sys.argv[1]), folder), 120))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("1 passed, 0 failed")


main()

# SPDX-License-Identifier: Apache-2.0
"""One person with our own command line: listen runs, send is typed."""
import asyncio, json, os, re, signal
from stage import until


class Sotto:
    program = "sotto"
    wires = {"urn:xmpp:omemo:2", "eu.siacs.conversations.axolotl"}
    marks = True

    def __init__(self, stage, name, device="sotto"):
        self.stage, self.name, self.device = stage, name, device
        self.home = stage.room("%s-%s" % (device, name))
        self.wire_file = os.path.join(self.home, "wire.xml")
        self.events, self.listening, self.reader, self.mark = [], None, None, 0

    def command(self, *words):
        binary = os.path.join(os.path.dirname(self.stage.server.binary), "sotto")
        return [binary, "-as", self.name, "--json", *words]

    def env(self):
        return {"PATH": os.environ["PATH"], "HOME": self.home, "SOTTO_HOME": os.path.join(self.home, "profiles")}

    async def run(self, *words, stdin=""):
        """One command to its end; its lines of JSON."""
        p = await asyncio.create_subprocess_exec(*self.command(*words), env=self.env(), stdin=asyncio.subprocess.PIPE,
                                                 stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        out, err = await asyncio.wait_for(p.communicate(stdin.encode()), 40)
        if p.returncode != 0:
            raise RuntimeError("sotto %s: exit %d: %s %s" % (words[0], p.returncode, out.decode(), err.decode()))
        return [json.loads(line) for line in out.splitlines()]

    async def on(self):
        server = self.stage.server
        if not os.path.exists(self.env()["SOTTO_HOME"]):
            await self.run("login", "--server", "127.0.0.1:%d" % server.port, "--ca", server.ca, "--device", self.device,
                           "--key-file", stdin=server.password(self.name) + "\n")
        self.mark = len(self.events)
        p = self.listening = await asyncio.create_subprocess_exec(
            *self.command("--wire", self.wire_file, "listen", "--seen"), env=self.env(), stdout=asyncio.subprocess.PIPE)
        self.stage.exits.push_async_callback(self.end, p)
        self.reader = asyncio.ensure_future(self.listen(p.stdout))
        await self.event("ready")

    async def listen(self, lines):
        async for line in lines:
            self.events.append(json.loads(line))

    @staticmethod
    async def end(process):
        if process.returncode is None:
            process.kill()
            await process.wait()

    async def event(self, kind, **message):
        """Wait for an event since the mark, with these fields in its message."""
        def found():
            for e in self.events[self.mark:]:
                if e.get("event") == kind and all((e.get("message") or {}).get(k) in v for k, v in message.items()):
                    return e
        try:
            return await until("%s in sotto has %s %s" % (self.name, kind, message), found)
        except TimeoutError as err:
            raise TimeoutError("%s; it has %s" % (err, self.events[self.mark:]))

    async def off(self):
        self.listening.send_signal(signal.SIGINT)
        if await asyncio.wait_for(self.listening.wait(), 20) != 0:
            raise RuntimeError("sotto listen did not end cleanly")
        await self.reader

    def lost(self):
        """The server is gone; sotto comes back by itself."""
        self.mark = len(self.events)

    async def back(self):
        await self.event("online")

    async def write(self, to, text):
        lines = await self.run("send", to, text, "--wait", "sent")
        return lines[-1]["message"]["id"]

    async def accepted(self, sent):
        """send has waited for it."""

    async def delivered(self, sent):
        await self.event("state", id=[sent], state=["delivered", "read"])

    async def seen(self, sent):
        await self.event("state", id=[sent], state=["read"])

    async def copied(self, to, text):
        """Another device of ours wrote it."""
        await self.event("sent-here", body=[text], chat=[to + "@localhost"])

    async def read(self, sender, *texts):
        """All texts came, once each and in this order; tell the wire of the last."""
        def come():
            return [e["message"]["body"] for e in self.events if e.get("event") == "message" and e["message"]["body"] in texts]
        await until("%s in sotto reads %s" % (self.name, texts[-1]), lambda: texts[-1] in come())
        if come() != list(texts):
            raise AssertionError("sotto read %r, not %r" % (come(), texts))
        with open(self.wire_file) as f:
            return re.findall(r'<encrypted xmlns=["\']([^"\']+)', f.read())[-1]

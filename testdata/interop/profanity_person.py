# SPDX-License-Identifier: Apache-2.0
"""One person at profanity: a terminal of its own in tmux, keys typed, screen read.

What profanity shows is what counts; its log only tells when it is ready.
"""
import os, re, shutil, subprocess
from stage import until

PROFRC = """[connection]
tls.certpath=%s
reconnect=1
receipts.request=true
receipts.send=true
[omemo]
policy=always
trustmode=blind

[ui]
roster=false
splash=false
time.chat=off
omemo.char=@
"""

ACCOUNT = """[me]
enabled=true
jid=%s@localhost
resource=profanity
server=127.0.0.1
port=%d
password=%s
tls.policy=force
muc.nick=me
presence.last=online
presence.login=online
"""


class Profanity:
    program = "profanity"
    settings = PROFRC
    wires = {"eu.siacs.conversations.axolotl"}
    marks = False

    def __init__(self, stage, name):
        self.stage, self.name = stage, name
        self.home = stage.room("profanity-" + name)
        self.socket = os.path.join(self.home, "tmux")
        self.log_file = os.path.join(self.home, "data", "profanity", "logs", "profanity.log")
        self.known = False  # whether keys were made
        self.began = 0      # where the log of this run begins
        stage.exits.callback(self.tmux, "kill-server", check=False)
        self.settle()

    def settle(self):
        """Its configuration: a CA folder as OpenSSL wants it, one account."""
        ca = os.path.join(self.home, "ca")
        for folder in (ca, os.path.join(self.home, "config", "profanity"), os.path.join(self.home, "data", "profanity")):
            os.makedirs(folder, exist_ok=True)
        shutil.copy(self.stage.server.ca, os.path.join(ca, "ca.pem"))
        subprocess.run(["openssl", "rehash", ca], check=True)
        with open(os.path.join(self.home, "config", "profanity", "profrc"), "w") as f:
            f.write(self.settings % ca)
        with open(os.path.join(self.home, "data", "profanity", "accounts"), "w") as f:
            f.write(ACCOUNT % (self.name, self.stage.server.port, self.stage.server.password(self.name)))

    def tmux(self, *words, check=True):
        r = subprocess.run(["tmux", "-S", self.socket, "-f", "/dev/null", *words], capture_output=True, text=True, timeout=10)
        if check and r.returncode != 0:
            raise RuntimeError("tmux %s: %s" % (words[0], r.stderr))
        return r.stdout

    def type(self, line):
        self.tmux("send-keys", "-l", line)
        self.tmux("send-keys", "Enter")

    def screen(self):
        return self.tmux("capture-pane", "-p", "-J")

    def log(self):
        """What it has logged since it was started."""
        try:
            with open(self.log_file, errors="replace") as f:
                f.seek(self.began)
                return f.read()
        except FileNotFoundError:
            return ""

    async def logged(self, pattern, what, seconds=20, times=1):
        try:
            await until(what, lambda: len(re.findall(pattern, self.log())) >= times, seconds)
        except TimeoutError as e:
            raise TimeoutError("%s; the screen:\n%s" % (e, self.screen()))

    async def on(self):
        self.began = os.path.getsize(self.log_file) if os.path.exists(self.log_file) else 0
        clean = ["env", "-i", "PATH=" + os.environ["PATH"], "TERM=screen-256color", "LC_ALL=C.UTF-8", "HOME=" + self.home,
                 "XDG_CONFIG_HOME=%s/config" % self.home, "XDG_DATA_HOME=%s/data" % self.home]
        self.tmux("new-session", "-d", "-x", "200", "-y", "50", " ".join(clean + ["profanity", "-l", "DEBUG", "-a", "me"]))
        await until("%s in profanity is online" % self.name, lambda: "logged in successfully" in self.screen())
        if self.known:
            return
        self.known = True
        await self.logged(r"connection_features_received localhost", "it knows that keys can be published for all")
        self.type("/omemo gen")
        await self.logged(r"bundle published successfully", "its keys are published")
        await self.logged(r"RECV: <message [^\n]*pubsub#event[^\n]*axolotl.devicelist[^\n]*<device id=", "its device is in the list")

    async def off(self):
        """Leave in good order: the server has all that was sent."""
        await self.accepted(None)
        self.type("/quit")
        await until("profanity has ended", lambda: not self.tmux("list-sessions", check=False))

    def lost(self):
        """The server is gone; profanity will notice and come back by itself."""
        self.began += len(self.log().encode())

    async def back(self):
        await self.logged(r"RECV: <resumed |logged in successfully", "profanity is back")

    def title(self):
        return self.screen().split("\n", 1)[0]

    async def face(self, who, command):
        """Have the chat window with who in front."""
        if not self.title().startswith(" %s@localhost " % who):
            self.type("%s %s@localhost" % (command, who))
        await until("the chat window is encrypted", lambda: re.match(r" %s@localhost .*\[OMEMO\]" % who, self.title()))

    async def write(self, to, text):
        await self.face(to, "/msg")
        await self.logged(r"session with %s@localhost device" % to, "profanity has a session with " + to)
        self.type(text)
        await until("profanity shows what was typed", lambda: re.search(r"(?m)^@? ?me: %s\s*$" % re.escape(text), self.screen()))
        return text

    async def accepted(self, text):
        """The server's ack covers all that was sent on this stream (XEP-0198)."""
        def acked():
            with open(self.log_file, errors="replace") as f:
                log = f.read()
            begins = list(re.finditer(r'RECV: <(?:enabled |resumed h="(\d+)")', log))
            if not begins:
                return False
            begin = begins[-1]
            stream = log[begin.end():]
            sent = int(begin.group(1) or 0) + len(re.findall(r"SENT: <(?:message|presence|iq)\b", stream))
            acks = re.findall(r'RECV: <a h="(\d+)"', stream)
            return acks and int(acks[-1]) >= sent
        await until("profanity has the server's ack", acked)

    async def delivered(self, text):
        """A message that waits for its receipt is red, later not."""
        await until("profanity shows the receipt", lambda: re.search(r"me: \x1b\[39m" + re.escape(text), self.tmux("capture-pane", "-p", "-J", "-e")))

    async def copied(self, to, text):
        """Another device of ours wrote it."""
        await until("profanity shows the copy", lambda: re.search(r"(?m)^@? ?me: %s\s*$" % re.escape(text), self.screen()))

    async def read(self, sender, *texts):
        """All texts are on the screen, once each and in this order."""
        def here():
            return self.title().startswith(" %s@localhost " % sender) or "chat message: %s@localhost" % sender in self.screen()
        await until("profanity hears from " + sender, here)
        await self.face(sender, "/win")
        def shown():
            lines = re.findall(r"(?m)^@? ?%s@localhost\S*: (.*?)\s*$" % sender, self.screen())
            return [t for t in lines if t in texts]
        try:
            await until("profanity shows " + texts[-1], lambda: texts[-1] in shown())
        except TimeoutError as e:
            raise TimeoutError("%s; the screen:\n%s" % (e, self.screen()))
        if shown() != list(texts):
            raise AssertionError("profanity shows %r, not %r" % (shown(), texts))
        return "eu.siacs.conversations.axolotl"  # the only wire it speaks

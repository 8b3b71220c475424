# SPDX-License-Identifier: Apache-2.0
"""What every play needs: a server of its own, a clock, and a clean end.

A play is a coroutine that gets a Stage. Whatever goes wrong, the play ends
before its deadline, and nothing that it started is left behind.
"""
import asyncio, contextlib, os, shutil, signal, socket, subprocess, sys, tempfile, time, traceback

SECONDS = 60  # for one play


async def until(what, question, seconds=20):
    """Ask until the answer is true; say what was awaited when it never is."""
    end = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > end:
            raise TimeoutError("waited %d s for: %s" % (seconds, what))
        await asyncio.sleep(0.05)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """sottod in a data folder of its own."""

    def __init__(self, binary, folder, **options):
        self.port, self.tls_port = free_port(), free_port()
        self.data, self.config = os.path.join(folder, "data"), os.path.join(folder, "sottod.toml")
        self.binary, self.process = os.path.abspath(binary), None
        options = {"data": self.data, "listen": ["127.0.0.1:%d" % self.port],
                   "listen_tls": ["127.0.0.1:%d" % self.tls_port], **options}
        self.options = options
        with open(self.config, "w") as f:
            for key, value in options.items():
                f.write("%s = %s\n" % (key, str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')))

    def start(self):
        self.process = subprocess.Popen([self.binary, "--config", self.config, "dev"], stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if "trust" in line:
                return
        raise RuntimeError("sottod did not start")

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(20) != 0:
            raise RuntimeError("sottod did not stop cleanly")

    def ask(self, *words, stdin=None):
        r = subprocess.run([self.binary, "--config", self.config, *words], capture_output=True, text=True, input=stdin, timeout=20)
        if r.returncode != 0:
            raise RuntimeError("sottod %s: %s" % (" ".join(words), r.stderr))
        return r.stdout

    def waiting(self):
        """How many messages wait on the running server."""
        return int(self.ask("status").split("waiting messages")[1].split()[0])

    @property
    def ca(self):
        return os.path.join(self.data, "tls", "ca.pem")

    def password(self, name):
        with open(os.path.join(self.data, "dev", name + ".password")) as f:
            return f.read().strip()

    def forgotten(self, texts):
        """The stopped server's folder is sound and holds nothing of these texts."""
        found = self.ask("check").strip()
        if "waiting messages 0" not in found:
            raise AssertionError("not forgotten: " + found)
        for root, _, files in os.walk(self.data):
            for name in files:
                with open(os.path.join(root, name), "rb") as f:
                    content = f.read()
                for t in texts:
                    if t.encode() in content:
                        raise AssertionError("%r is in %s" % (t, name))
        return found


class Stage:
    """One play's folder, server, clock and clean-up."""

    def __init__(self, exits, name, binary, **options):
        self.exits, self.name, self.began = exits, name, time.monotonic()
        self.folder = tempfile.mkdtemp(prefix="sotto-interop-")
        if not os.environ.get("KEEP"):
            exits.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.server = Server(binary, self.folder, **options)
        exits.callback(self.server.kill)
        self.server.start()

    def say(self, text):
        print("%6.2f s  %-20s %s" % (time.monotonic() - self.began, self.name, text), flush=True)

    def room(self, name):
        """A folder for one person."""
        path = os.path.join(self.folder, name)
        os.makedirs(path, exist_ok=True)
        return path


def need(*programs):
    """Stop with the line to type when a program is missing: no check is skipped."""
    missing = [p for p in programs if not shutil.which(p)]
    if missing:
        sys.exit("interop: missing %s\nhint: apt-get install -y %s" % (" and ".join(missing), " ".join(missing)))


def play(name, binary, script, seconds=SECONDS, **options):
    """Run one play to its end or its deadline; say whether it passed."""
    if seconds <= 0:
        print("%s: FAILED: no time is left" % name)
        return False

    def late(*_):
        raise TimeoutError("the play took more than %d s" % (seconds + 10))

    signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds + 10)  # for what blocks without asyncio

    async def whole():
        async with contextlib.AsyncExitStack() as exits:
            stage = Stage(exits, name, binary, **options)
            await asyncio.wait_for(script(stage), seconds)
            stage.say("passed")

    try:
        asyncio.run(whole())
        return True
    except Exception:
        traceback.print_exc()
        print("%s: FAILED" % name, flush=True)
        return False
    finally:
        signal.alarm(0)


def finish(results):
    """Print the sum and exit by it."""
    bad = [name for name, passed in results.items() if not passed]
    print("%d passed, %d failed %s" % (len(results) - len(bad), len(bad), " ".join(bad)))
    sys.exit(1 if bad or not results else 0)

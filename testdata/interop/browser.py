# SPDX-License-Identifier: Apache-2.0
"""Debian's chromium without a screen, by its DevTools protocol.

Each page has storage of its own, as on a machine of its own. What a page
complains of, and what it asks of anybody but the server, is written down.
"""
import asyncio, base64, hashlib, json, os, re, ssl, subprocess
from stage import until
from websockets.asyncio.client import connect


def pin(cert):
    """The hash of a certificate's public key."""
    der = subprocess.run("openssl x509 -in %s -pubkey -noout | openssl pkey -pubin -outform der" % cert,
                         shell=True, check=True, capture_output=True).stdout
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


class Browser:
    def __init__(self, stage):
        self.stage, self.folder, self.n = stage, stage.room("chromium"), 0
        self.answers, self.pages = {}, {}

    async def start(self):
        cert = os.path.join(self.stage.server.data, "tls", "cert.pem")
        flags = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
                 "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1200,800",
                 "--remote-debugging-port=0", "--user-data-dir=" + self.folder, "--ignore-certificate-errors-spki-list=" + pin(cert)]
        if os.geteuid() == 0:  # chromium's own sandbox refuses root
            flags.append("--no-sandbox")
        p = await asyncio.create_subprocess_exec("chromium", *flags, "about:blank", stdout=subprocess.DEVNULL,
                                                 stderr=asyncio.subprocess.PIPE, start_new_session=True)
        self.stage.exits.push_async_callback(self.end, p)
        url = await asyncio.wait_for(self.address(p.stderr), 20)
        self.errors = asyncio.ensure_future(self.drain(p.stderr))
        self.ws = await connect(url, max_size=1 << 26, ping_interval=None)
        self.reader = asyncio.ensure_future(self.read())

    @staticmethod
    async def address(lines):
        async for line in lines:
            if m := re.search(rb"DevTools listening on (ws://\S+)", line):
                return m.group(1).decode()
        raise RuntimeError("chromium did not start")

    @staticmethod
    async def drain(lines):
        while await lines.read(1 << 16):
            pass

    async def end(self, process):
        if getattr(self, "ws", None):
            self.reader.cancel()
            await self.ws.close()
        if process.returncode is None:
            os.killpg(process.pid, 9)
        await process.wait()

    async def read(self):
        async for raw in self.ws:
            m = json.loads(raw)
            if "id" in m:
                self.answers.pop(m["id"]).set_result(m)
            elif page := self.pages.get(m.get("sessionId")):
                page.heard(m["method"], m["params"])

    async def ask(self, method, session=None, **params):
        self.n += 1
        m = {"id": self.n, "method": method, "params": params}
        if session:
            m["sessionId"] = session
        f = self.answers[self.n] = asyncio.get_running_loop().create_future()
        await self.ws.send(json.dumps(m))
        answer = await asyncio.wait_for(f, 30)
        if "error" in answer:
            raise RuntimeError("%s: %s" % (method, answer["error"]))
        return answer["result"]

    async def page(self, name):
        context = (await self.ask("Target.createBrowserContext"))["browserContextId"]
        target = (await self.ask("Target.createTarget", url="about:blank", browserContextId=context, width=1200, height=800))["targetId"]
        session = (await self.ask("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        page = self.pages[session] = Page(self, session, name)
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            await page.ask(domain + ".enable")
        return page


class Page:
    def __init__(self, browser, session, name):
        self.browser, self.session, self.name = browser, session, name
        self.faults, self.got, self.words, self.sent, self.received = [], [], [], [], []
        self.posts = {}  # bodies by request, and whether they were answered

    async def ask(self, method, **params):
        return await self.browser.ask(method, self.session, **params)

    def heard(self, method, p):
        if method == "Runtime.exceptionThrown":
            d = p["exceptionDetails"]
            self.faults.append("exception: " + d.get("exception", {}).get("description", d["text"]))
        elif method == "Runtime.consoleAPICalled":
            self.words.append((p["type"], " ".join(str(a.get("value", a.get("description"))) for a in p["args"])))
        elif method == "Log.entryAdded" and p["entry"]["level"] == "error":
            self.faults.append("log: %s %s" % (p["entry"]["text"], p["entry"].get("url", "")))
        elif method == "Network.requestWillBeSent" and "postData" in p["request"]:
            self.posts[p["requestId"]] = (p["request"]["postData"], False)
        elif method == "Network.loadingFinished" and p["requestId"] in self.posts:
            self.posts[p["requestId"]] = (self.posts[p["requestId"]][0], True)
        elif method == "Network.responseReceived":
            self.got.append(p["response"]["url"])
        elif method == "Network.webSocketCreated":
            self.got.append(p["url"])
        elif method == "Network.webSocketFrameSent":
            self.sent.append(p["response"]["payloadData"])
        elif method == "Network.webSocketFrameReceived":
            self.received.append(p["response"]["payloadData"])

    async def go(self, url):
        await self.ask("Page.navigate", url=url)

    async def eval(self, script):
        """The value of an expression, also of a promise."""
        r = await self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in r:
            d = r["exceptionDetails"]
            raise RuntimeError("%s: %s" % (script, d.get("exception", {}).get("description", d["text"])))
        return r["result"].get("value")

    async def wait(self, what, script, seconds=20):
        """Wait until an expression is true; it may fail until then."""
        end = asyncio.get_running_loop().time() + seconds
        while True:
            value = await self.eval("(() => { try { return %s } catch { return null } })()" % script)
            if value:
                return value
            if asyncio.get_running_loop().time() > end:
                text = await self.eval("document.body.innerText")
                raise TimeoutError("waited %d s for: %s in %s's page, which shows %r; it complains %s; %s" % (
                    seconds, what, self.name, text[-1500:], self.faults[-8:], self.words[-8:]))
            await asyncio.sleep(0.1)

    async def click(self, selector):
        await self.wait(selector, "!!document.querySelector(%s)" % json.dumps(selector))
        await self.eval("document.querySelector(%s).click()" % json.dumps(selector))

    async def type(self, selector, text):
        """Put the cursor there and type, as a keyboard does; what opens meanwhile may take the cursor away."""
        at = "document.querySelector(%s)" % json.dumps(selector)
        end = asyncio.get_running_loop().time() + 20
        while True:
            await self.wait(selector, "!!" + at)
            await self.eval("(() => { const e = %s; e.focus(); e.select && e.select() })()" % at)
            await self.ask("Input.insertText", text=text)
            if await self.eval("%s?.value" % at) == text:
                return
            if asyncio.get_running_loop().time() > end:
                raise TimeoutError("cannot type %r into %s" % (text, selector))
            await asyncio.sleep(0.1)

    async def enter(self):
        for kind in ("rawKeyDown", "char", "keyUp"):
            await self.ask("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r" if kind == "char" else "")

    async def picture(self, path):
        """A screenshot, as small as it may be."""
        shot = await self.ask("Page.captureScreenshot", format="png")
        with open(path, "wb") as f:
            f.write(base64.b64decode(shot["data"]))

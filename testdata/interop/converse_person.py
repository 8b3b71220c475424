# SPDX-License-Identifier: Apache-2.0
"""One person at Converse.js in a browser, who clicks and types."""
import json, re
from stage import until


class Converse:
    program = "converse"
    wires = {"urn:xmpp:omemo:2", "eu.siacs.conversations.axolotl"}

    def __init__(self, stage, name):
        self.stage, self.name, self.page = stage, name, None

    def url(self, path):
        return "https://localhost:%s%s" % (self.stage.server.options["listen_https"][0].split(":")[1], path)

    async def on(self, browser, way=""):
        """Open the page and log in by its form."""
        self.page = p = await browser.page(self.name)
        await p.go(self.url("/chat" + way))
        await p.type("#converse-login-jid", self.name)
        await p.type("#converse-login-password", self.stage.server.password(self.name))
        await p.click("#converse-login [type=submit]")
        await self.back()

    async def back(self):
        """The page shows people, and that this person is online."""
        await self.page.wait("to be online", "document.querySelector('.xmpp-status')?.innerText.includes('online')")

    async def lost(self):
        """The server is gone, and the page has seen it."""
        await self.page.wait("to be offline", "!document.querySelector('.xmpp-status')?.innerText.includes('online')")

    async def published(self):
        """Our keys are on the server, on both wires."""
        def done(node):
            posts = list(self.page.posts.values())
            at = next((i for i, (body, _) in enumerate(posts) if '<publish node="%s' % node in body), len(posts))
            if sum(answered for _, answered in posts[at:]) > 1:  # over BOSH: it was answered, or one behind it
                return True
            ids = [i for frame in self.page.sent for i in re.findall(r'<iq[^>]* id="([^"]+)"', frame) if '<publish node="%s' % node in frame]
            return any('type="result"' in f.replace("'", '"') and 'id="%s"' % i in f.replace("'", '"') for i in ids for f in self.page.received)
        for node in ("eu.siacs.conversations.axolotl.devicelist", "eu.siacs.conversations.axolotl.bundles", "urn:xmpp:omemo:2:devices", "urn:xmpp:omemo:2:bundles"):
            await until("%s's page to publish %s" % (self.name, node), lambda: done(node))

    async def open(self, other):
        """Click on a person in the list."""
        await self.page.click("a.open-chat[data-jid='%s@localhost']" % other)
        await self.page.wait("the talk with " + other, "!!document.querySelector('converse-chat[jid=\"%s@localhost\"] textarea, .chatbox:not(.hidden) textarea.chat-textarea')" % other)

    async def write(self, text):
        """Type into the open talk."""
        await self.page.type(".chatbox:not(.hidden) textarea.chat-textarea", text)
        await self.page.enter()

    def message(self, text):
        """The last shown message with this text, as JavaScript."""
        return ("[...document.querySelectorAll('.chat-msg')].filter(m => m.querySelector('.chat-msg__text')?.innerText.trim() === %s).at(-1)"
                % json.dumps(text))

    async def read(self, text, encrypted=True):
        """The text is shown, once, and was encrypted or not."""
        await self.page.wait("the text " + repr(text), "!!%s" % self.message(text))
        how = await self.page.eval("%s.dataset.encrypted" % self.message(text))
        if (how == "true") != encrypted:
            raise AssertionError("%s's page shows %r as encrypted: %s" % (self.name, text, how))
        shown = await self.page.eval("[...document.querySelectorAll('.chat-msg__text')].filter(m => m.innerText.trim() === %s).length" % json.dumps(text))
        if shown != 1:
            raise AssertionError("%s's page shows %r %d times" % (self.name, text, shown))

    async def ticked(self, text):
        """A receipt is shown at what we wrote."""
        await self.page.wait("a receipt for " + repr(text), "!!%s.querySelector('.chat-msg__receipt, .fa-check')" % self.message(text))

    async def secret(self, click=False):
        """The padlock of the open talk is closed, by a click or by itself."""
        lock = ".chatbox:not(.hidden) .toggle-omemo"
        if click:
            await self.page.wait("a padlock that may be closed", "document.querySelector(%s).dataset.disabled === 'false'" % json.dumps(lock))
            await self.page.click(lock)
        await self.page.wait("a closed padlock", "!!document.querySelector(%s)" % json.dumps(lock + " .fa-lock"))

    async def enter(self, room):
        """Enter a group by the form for it; who is first owns it."""
        await self.page.click(".show-add-muc-modal")
        await self.page.type("input[name=chatroom]", room)
        await self.page.type("input[name=nickname]", self.name)
        await self.page.click("converse-add-muc-modal input[type=submit]")
        await self.page.wait("to be in " + room, "[...document.querySelectorAll('.chatbox:not(.hidden) .occupant-nick')].some(n => n.innerText.trim() === '%s')" % self.name)

    async def make_private(self):
        """Set the open group up: for members, who know each other."""
        await self.page.click(".configure-chatroom-button")
        form = "document.querySelector('converse-muc-config-modal form')"
        await self.page.wait("the settings", "!!%s['muc#roomconfig_whois']" % form)
        choices = await self.page.eval("[...%s['muc#roomconfig_whois'].options].map(o => o.innerText)" % form)
        if not all(choices):
            raise AssertionError("the choices have no names: %r" % choices)
        await self.page.eval("""(() => { const f = %s; f['muc#roomconfig_membersonly'].checked = true; f['muc#roomconfig_whois'].value = 'anyone';
            f['muc#roomconfig_persistentroom'].checked = true; f.querySelector('input[type=submit]').click() })()""" % form)
        await self.page.wait("the settings to be saved", "!document.querySelector('converse-muc-config-modal.show')")

    async def upload(self, path):
        """Choose a file in the open talk."""
        await self.page.wait("the field for files", "!!document.querySelector('.chatbox:not(.hidden) .fileupload')")
        root = (await self.page.ask("DOM.getDocument"))["root"]["nodeId"]
        node = (await self.page.ask("DOM.querySelector", nodeId=root, selector=".chatbox:not(.hidden) .fileupload"))["nodeId"]
        await self.page.ask("DOM.setFileInputFiles", nodeId=node, files=[path])

    async def sees(self, width):
        """The last message shows a picture of that width, decrypted."""
        await self.page.wait("a picture", "document.querySelector('.chatbox:not(.hidden) .chat-msg:last-of-type img.chat-image')?.naturalWidth === %d" % width)

// SPDX-License-Identifier: Apache-2.0
// Two people with xmpp.js over WebSocket. Usage: xmppjs.mjs MODULES HTTPS_URL ALICE_PASSWORD BOB_PASSWORD
import path from "node:path";
import { pathToFileURL } from "node:url";

const [modules, url, ...passwords] = process.argv.slice(2);
const { client, xml } = await import(pathToFileURL(path.join(modules, "@xmpp/client/index.js")));

const patience = 15_000;
const say = (text) => console.log(text);

function within(what, promise) {
  let timer;
  const late = new Promise((_, no) => { timer = setTimeout(() => no(new Error("waited in vain for " + what)), patience); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const event = (on, name, ok = () => true) => new Promise((yes) => {
  const f = (x) => { if (ok(x)) { on.removeListener(name, f); yes(x); } };
  on.on(name, f);
});

// Where the WebSocket is (XEP-0156).
async function find() {
  const res = await fetch(url + "/.well-known/host-meta.json");
  const { links } = await res.json();
  return links.find((l) => l.rel === "urn:xmpp:alt-connections:websocket").href;
}

async function enter(service, username, password) {
  const c = client({ service, domain: "localhost", username, password, resource: "page" });
  c.on("error", (err) => { console.error(username, err); process.exitCode = 1; });
  const online = event(c, "online");
  await within(username + " to be online", c.start());
  await within(username + " to be online", online);
  await c.send(xml("presence"));
  return c;
}

const write = (c, to, text) => c.send(xml("message", { to, type: "chat", id: text.replaceAll(" ", "-") }, xml("body", {}, text)));
const hear = (c, text) => within(text, event(c, "stanza", (s) => s.is("message") && s.getChildText("body") === text));

// XEP-0363, as pages do it.
async function upload(c) {
  const file = crypto.getRandomValues(new Uint8Array(50_000));
  const wish = xml("request", { xmlns: "urn:xmpp:http:upload:0", filename: "a b.bin", size: String(file.length) });
  const slot = (await c.iqCaller.request(xml("iq", { type: "get", to: "localhost" }, wish))).getChild("slot");
  const put = await fetch(slot.getChild("put").attrs.url, { method: "PUT", body: file });
  if (put.status !== 201) throw new Error("the file was not taken: " + put.status);
  const get = slot.getChild("get").attrs.url;
  const back = new Uint8Array(await (await fetch(get)).arrayBuffer());
  if (back.length !== file.length || back.some((x, i) => x !== file[i])) throw new Error("another file came back");
  const part = await fetch(get, { headers: { Range: "bytes=49990-" } });
  if (part.status !== 206 || (await part.arrayBuffer()).byteLength !== 10) throw new Error("no part came: " + part.status);
}

const service = await find();
say("host-meta names " + new URL(service).pathname);
const [alice, bob] = [await enter(service, "alice", passwords[0]), await enter(service, "bob", passwords[1])];
say("both are online as " + alice.jid + " and " + bob.jid);
for (const [from, to, name, text] of [[alice, bob, "bob", "the boat is green"], [bob, alice, "alice", "the oars are red"]]) {
  const heard = hear(to, text);
  await write(from, name + "@localhost", text);
  await heard;
}
say("each read the other");
await alice.iqCaller.get(xml("query", { xmlns: "jabber:iq:roster" }));
const resumed = event(alice.streamManagement, "resumed"), heard = hear(alice, "the anchor holds");
alice.socket.socket.close(); // no word to the stream: the network went away
await write(bob, "alice@localhost", "the anchor holds");
await within("alice's session", resumed);
await heard;
say("alice's session was resumed, and nothing was lost");
await upload(alice);
say("a file went up and came back, whole and in part");
await within("alice to leave", alice.stop());
await within("bob to leave", bob.stop());
say("both left in good order");

// SPDX-License-Identifier: Apache-2.0
// Two people with stanza.js, over WebSocket and over BOSH. Usage: stanzajs.mjs MODULES HTTPS_URL ALICE_PASSWORD BOB_PASSWORD
import { createRequire } from "node:module";
import path from "node:path";

const [modules, url, ...passwords] = process.argv.slice(2);
const { createClient } = createRequire(path.join(modules, "x.js"))("stanza");
const say = (text) => console.log(text);
const once = (c, event) => new Promise((yes) => c.once(event, yes));

const ways = {
  WebSocket: { websocket: url.replace("https", "wss") + "/ws", bosh: false },
  BOSH: { websocket: false, bosh: url + "/http-bind" },
};

async function enter(name, password, transports) {
  const c = createClient({ jid: name + "@localhost", password, resource: "page", transports });
  for (const bad of ["stream:error", "auth:failed"]) {
    c.on(bad, (e) => { console.error(name, bad, e); process.exit(1); });
  }
  const started = once(c, "session:started");
  c.connect();
  await started;
  c.sendPresence();
  await c.getRoster();
  return c;
}

const late = setTimeout(() => { console.error("waited in vain"); process.exit(1); }, 30_000);
for (const [way, transports] of Object.entries(ways)) {
  const [alice, bob] = [await enter("alice", passwords[0], transports), await enter("bob", passwords[1], transports)];
  for (const [from, to, name, text] of [[alice, bob, "bob", "the boat is green"], [bob, alice, "alice", "the oars are red"]]) {
    const heard = once(to, "message");
    from.sendMessage({ to: name + "@localhost", type: "chat", body: text });
    const { body } = await heard;
    if (body !== text) throw new Error("not " + text + " but " + body);
  }
  say("each read the other over " + way);
  await Promise.all([alice.getRoster(), bob.getRoster()]); // behind what acks the messages
  const ended = Promise.all([alice, bob].map((c) => once(c, "stream:end")));
  alice.disconnect();
  bob.disconnect();
  await ended;
  say("both left");
}
clearTimeout(late);
process.exit(0);

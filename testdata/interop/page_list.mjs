// SPDX-License-Identifier: Apache-2.0
// All that a library for pages does at a server. Usage: page_list.mjs LIBRARY WAY MODULES HTTPS_URL ALICE_PASSWORD BOB_PASSWORD
// LIBRARY is a file page_LIBRARY.mjs here, whose enter() gives a person; WAY is websocket or bosh.
const [library, way, modules, url, ...passwords] = process.argv.slice(2);
const { enter } = await import(`./page_${library}.mjs`);
const say = (text) => console.log(text);

// Ears keep what came until somebody asks for it.
class Ears {
  heard = []; asked = [];

  take(event) {
    const i = this.asked.findIndex((a) => a.ok(event));
    if (i < 0) return this.heard.push(event);
    this.asked.splice(i, 1)[0].yes(event);
  }

  hear(what, ok) {
    const i = this.heard.findIndex(ok);
    if (i >= 0) return Promise.resolve(this.heard.splice(i, 1)[0]);
    return new Promise((yes, no) => {
      const late = setTimeout(() => no(new Error(`waited in vain for ${what}; there is ${JSON.stringify(this.heard)}`)), 15_000);
      this.asked.push({ ok, yes: (event) => { clearTimeout(late); yes(event); } });
    });
  }
}

function same(what, got, want) {
  if (JSON.stringify(got) !== JSON.stringify(want)) throw new Error(`${what}: ${JSON.stringify(got)}, not ${JSON.stringify(want)}`);
}

async function come(name, resource) {
  const ears = new Ears();
  const password = passwords[name === "alice" ? 0 : 1];
  const person = await enter({ name, resource, password, way, modules, url, heard: (event) => ears.take(event) });
  person.hear = (what, ok) => ears.hear(`${what} at ${name}/${resource}`, ok);
  person.read = (text, ok = () => true) => person.hear(text, (e) => e.kind === "message" && e.body === text && ok(e));
  await person.roster(); // who has asked gets pushes (RFC 6121 §2.1.6)
  await person.presence({});
  return person;
}

const bare = (jid) => jid.split("/")[0];

async function contacts(alice, bob) {
  await alice.put("bob@localhost", "Bob");
  await alice.hear("the roster push", (e) => e.kind === "push" && e.jid === "bob@localhost");
  same("alice's roster", (await alice.roster()).map((i) => [i.jid, i.name]), [["bob@localhost", "Bob"]]);
  for (const [from, to] of [[alice, bob], [bob, alice]]) {
    await from.presence({ to: bare(to.jid), type: "subscribe" });
    await to.hear("a request", (e) => e.kind === "presence" && e.type === "subscribe");
    await to.presence({ to: bare(from.jid), type: "subscribed" });
    await from.hear("to be accepted", (e) => e.kind === "presence" && e.type === "subscribed");
  }
  same("the subscription", (await alice.roster()).map((i) => i.subscription), ["both"]);
  say("roster, its pushes, and subscriptions");
  await bob.presence({ show: "dnd" });
  await alice.hear("bob's presence", (e) => e.kind === "presence" && bare(e.from) === "bob@localhost" && e.show === "dnd");
  say("presence");
}

async function messages(alice, bob) {
  const other = await come("bob", "other");
  await other.carbons();
  await alice.write({ to: bob.jid, type: "chat", id: "m1", body: "the boat is green", receipt: true });
  const m = await bob.read("the boat is green", (e) => !e.copy);
  await bob.receipt(m);
  await alice.hear("a receipt", (e) => e.kind === "receipt" && e.id === "m1");
  say("a message and its receipt");
  await other.read("the boat is green", (e) => e.copy === "received");
  await bob.carbons();
  await other.write({ to: "alice@localhost", type: "chat", id: "m2", body: "the oars are red" });
  await alice.read("the oars are red");
  await bob.read("the oars are red", (e) => e.copy === "sent");
  say("carbons, of what came and what was sent");
  await other.leave();
}

async function away(alice, bob) {
  await bob.leave();
  await alice.hear("bob to leave", (e) => e.kind === "presence" && e.type === "unavailable" && e.from === bob.jid);
  await alice.write({ to: "bob@localhost", type: "chat", id: "m3", body: "the anchor holds" });
  await alice.ping("localhost"); // the server has it
  bob = await come("bob", "page");
  const m = await bob.read("the anchor holds");
  if (!m.delay) throw new Error("it does not say when it was sent");
  say("what waited, with its time");
  return bob;
}

async function cut(alice, bob) {
  const resumed = alice.cut();
  if (!resumed) {
    say("no stream management on this way");
    return [];
  }
  await bob.write({ to: "alice@localhost", type: "chat", id: "m4", body: "the rope is new" });
  await resumed;
  await alice.read("the rope is new");
  say("the network was gone; the session was resumed, and nothing was lost");
  return ["the rope is new"];
}

async function history(alice, texts) {
  same("the history with bob", await alice.history("bob@localhost"), texts);
  say("history");
}

async function room(alice, bob) {
  const at = "pier@rooms.localhost";
  for (const [who, nick] of [[alice, "Alice"], [bob, "Bob"]]) {
    await who.join(at, nick);
    await who.hear("its own presence", (e) => e.kind === "presence" && e.from === `${at}/${nick}`);
    if (who === alice) await alice.settle(at);
  }
  await alice.hear("Bob in the room", (e) => e.kind === "presence" && e.from === at + "/Bob");
  await bob.write({ to: at, type: "groupchat", id: "g1", body: "the pier is wet" });
  for (const who of [alice, bob]) await who.read("the pier is wet", (e) => e.from === at + "/Bob");
  say("a room");
}

async function publish(alice, bob) {
  await alice.publish("Captain");
  same("what alice published", await bob.published("alice@localhost"), ["Captain"]);
  say("PEP");
}

async function upload(alice) {
  const file = crypto.getRandomValues(new Uint8Array(50_000));
  const { put, get } = await alice.slot("a b.bin", file.length);
  const sent = await fetch(put, { method: "PUT", body: file });
  same("the answer to a file", sent.status, 201);
  const back = new Uint8Array(await (await fetch(get)).arrayBuffer());
  if (back.length !== file.length || back.some((x, i) => x !== file[i])) throw new Error("another file came back");
  const part = await fetch(get, { headers: { Range: "bytes=49990-" } });
  same("a part of it", [part.status, (await part.arrayBuffer()).byteLength], [206, 10]);
  say("a file, whole and in part");
}

// Where pages find the ways in (XEP-0156 §3).
async function find() {
  const { links } = await (await fetch(url + "/.well-known/host-meta.json", { headers: { Origin: "https://elsewhere.example" } })).json();
  const ways = Object.fromEntries(links.map((l) => [l.rel.split(":").pop(), l.href]));
  same("host-meta", [ways.websocket, ways.xbosh], [url.replace("https", "wss") + "/ws", url + "/http-bind"]);
  say("host-meta");
}

const late = setTimeout(() => { console.error("the list took too long"); process.exit(1); }, 50_000);
const alice = await come("alice", "page");
let bob = await come("bob", "page");
await find();
await contacts(alice, bob);
await messages(alice, bob);
bob = await away(alice, bob);
const more = await cut(alice, bob);
await history(alice, ["the boat is green", "the oars are red", "the anchor holds", ...more]);
await room(alice, bob);
await publish(alice, bob);
await upload(alice);
await alice.ping("localhost");
say("ping");
for (const who of [bob, alice]) await who.leave();
say("both left in good order");
clearTimeout(late);
process.exit(0);

// SPDX-License-Identifier: Apache-2.0
// A person with stanza.js, which has words for all of the list.
import { createRequire } from "node:module";
import path from "node:path";

const bare = (jid) => jid.split("/")[0];

export async function enter({ name, resource, password, way, modules, url, heard }) {
  const { createClient } = createRequire(path.join(modules, "x.js"))("stanza");
  const transports = way === "bosh" ? { websocket: false, bosh: url + "/http-bind" } : { websocket: url.replace("https", "wss") + "/ws", bosh: false };
  const c = createClient({ jid: name + "@localhost", password, resource, transports, sendReceipts: false, autoReconnect: true });
  for (const bad of ["stream:error", "auth:failed"]) c.on(bad, (e) => { console.error(name, bad, e); process.exit(1); });
  const copies = new Set();
  for (const copy of ["sent", "received"]) {
    c.on("carbon:" + copy, ({ carbon }) => { copies.add(carbon.forward.message); heard({ kind: "message", copy, body: carbon.forward.message.body, from: carbon.forward.message.from }); });
  }
  c.on("message", (m) => {
    if (!m.carbon && !copies.has(m) && !m.receipt?.id) heard({ kind: "message", from: m.from, type: m.type, id: m.id, body: m.body, delay: m.delay?.timestamp });
  });
  c.on("receipt", (m) => heard({ kind: "receipt", id: m.receipt.id, from: m.from }));
  c.on("presence", (p) => heard({ kind: "presence", from: p.from, type: p.type, show: p.show }));
  c.on("roster:update", (iq) => heard({ kind: "push", jid: iq.roster.items[0].jid }));
  const started = new Promise((yes) => c.once("session:started", yes));
  c.connect();
  await started;

  return {
    jid: c.jid,
    presence: (p) => c.sendPresence(p),
    roster: async () => (await c.getRoster()).items,
    put: (jid, name) => c.updateRosterItem({ jid, name }),
    write: ({ to, type, id, body, receipt }) => c.sendMessage({ to, type, id, body, receipt: receipt && { type: "request" } }),
    receipt: (m) => c.sendMessage({ to: m.from, type: "chat", receipt: { type: "received", id: m.id } }),
    carbons: () => c.enableCarbons(),
    history: async (jid) => (await c.searchHistory({ with: jid, paging: { max: 50 } })).results.map((r) => r.item.message.body).filter(Boolean),
    join: (room, nick) => { c.joinRoom(room, nick); },
    settle: (room) => c.configureRoom(room, {}),
    publish: (nick) => c.publishNick(nick),
    published: async (jid) => (await c.getItems(jid, "http://jabber.org/protocol/nick")).items.map((i) => i.content.nick),
    async slot(filename, size) {
      const service = await c.getUploadService();
      const slot = await c.getUploadSlot(service.jid, { name: filename, size });
      return { put: slot.upload.url, get: slot.download };
    },
    ping: (jid) => c.ping(jid),
    cut() {
      if (way === "bosh") return null;
      const resumed = new Promise((yes) => c.once("stream:management:resumed", yes));
      c.transport.socket.close(); // no word to the stream: the network went away
      return resumed;
    },
    leave: () => new Promise((yes) => { c.once(way === "bosh" ? "stream:end" : "disconnected", yes); c.disconnect(); }),
  };
}

// SPDX-License-Identifier: Apache-2.0
// A person with xmpp.js (@xmpp/client): it has no words of its own for what the list does, but builds XML.
import path from "node:path";
import { pathToFileURL } from "node:url";

const NS = {
  mam: "urn:xmpp:mam:2", rsm: "http://jabber.org/protocol/rsm", carbons: "urn:xmpp:carbons:2", forward: "urn:xmpp:forward:0", receipts: "urn:xmpp:receipts",
  muc: "http://jabber.org/protocol/muc", pubsub: "http://jabber.org/protocol/pubsub", nick: "http://jabber.org/protocol/nick", upload: "urn:xmpp:http:upload:0",
};

export async function enter({ name, resource, password, modules, url, heard }) {
  const { client, xml } = await import(pathToFileURL(path.join(modules, "@xmpp/client/index.js")));
  // By itself it would be another device each time, for which nothing has waited (XEP-0388 §2.3).
  const userAgent = xml("user-agent", { id: Buffer.from(`${name}/${resource}`.padEnd(16)).toString("hex").replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*/, "$1-$2-4$3-8$4-$5") });
  const c = client({ service: url.replace("https", "wss") + "/ws", domain: "localhost", username: name, password, resource, userAgent });
  c.on("error", (err) => { if (!/ECONN|socket|WebSocket/i.test(String(err))) throw err; });
  const results = [];
  c.on("stanza", (s) => {
    const result = s.getChild("result", NS.mam);
    if (result) return results.push(result.getChild("forwarded", NS.forward).getChild("message").getChildText("body"));
    tell(s);
  });
  function tell(s) {
    const { from, type, id } = s.attrs;
    if (s.is("presence")) return heard({ kind: "presence", from, type, show: s.getChildText("show") });
    if (!s.is("message")) return;
    for (const copy of ["sent", "received"]) {
      const inner = s.getChild(copy, NS.carbons)?.getChild("forwarded", NS.forward).getChild("message");
      if (inner) return heard({ kind: "message", copy, body: inner.getChildText("body"), from: inner.attrs.from });
    }
    const received = s.getChild("received", NS.receipts);
    if (received) return heard({ kind: "receipt", id: received.attrs.id, from });
    heard({ kind: "message", from, type, id, body: s.getChildText("body"), delay: s.getChild("delay")?.attrs.stamp });
  }
  c.iqCallee.set("jabber:iq:roster", "query", (ctx) => { heard({ kind: "push", jid: ctx.element.getChild("item").attrs.jid }); return true; });
  const online = new Promise((yes) => c.once("online", yes));
  await c.start();
  await online;
  const ask = (type, to, payload) => c.iqCaller.request(xml("iq", { type, to }, payload));

  return {
    jid: String(c.jid),
    presence: ({ to, type, show }) => c.send(xml("presence", { to, type }, show && xml("show", {}, show))),
    roster: async () => (await ask("get", undefined, xml("query", { xmlns: "jabber:iq:roster" }))).getChild("query").getChildren("item").map((i) => i.attrs),
    put: (jid, name) => ask("set", undefined, xml("query", { xmlns: "jabber:iq:roster" }, xml("item", { jid, name }))),
    write: ({ to, type, id, body, receipt }) => c.send(xml("message", { to, type, id }, xml("body", {}, body), receipt && xml("request", { xmlns: NS.receipts }))),
    receipt: (m) => c.send(xml("message", { to: m.from, type: "chat" }, xml("received", { xmlns: NS.receipts, id: m.id }))),
    carbons: () => ask("set", undefined, xml("enable", { xmlns: NS.carbons })),
    async history(jid) {
      results.length = 0;
      const field = (name, value) => xml("field", { var: name }, xml("value", {}, value));
      await ask("set", undefined, xml("query", { xmlns: NS.mam }, xml("x", { xmlns: "jabber:x:data", type: "submit" }, field("FORM_TYPE", NS.mam), field("with", jid)),
        xml("set", { xmlns: NS.rsm }, xml("max", {}, "50"))));
      return results.filter(Boolean);
    },
    join: (room, nick) => c.send(xml("presence", { to: `${room}/${nick}` }, xml("x", { xmlns: NS.muc }))),
    settle: (room) => ask("set", room, xml("query", { xmlns: NS.muc + "#owner" }, xml("x", { xmlns: "jabber:x:data", type: "submit" }))),
    publish: (nick) => ask("set", undefined, xml("pubsub", { xmlns: NS.pubsub }, xml("publish", { node: NS.nick }, xml("item", {}, xml("nick", { xmlns: NS.nick }, nick))))),
    published: async (jid) => (await ask("get", jid, xml("pubsub", { xmlns: NS.pubsub }, xml("items", { node: NS.nick })))).getChild("pubsub").getChild("items")
      .getChildren("item").map((i) => i.getChildText("nick")),
    async slot(filename, size) {
      const slot = (await ask("get", "localhost", xml("request", { xmlns: NS.upload, filename, size: String(size) }))).getChild("slot");
      return { put: slot.getChild("put").attrs.url, get: slot.getChild("get").attrs.url };
    },
    ping: (jid) => ask("get", jid, xml("ping", { xmlns: "urn:xmpp:ping" })),
    cut() {
      const resumed = new Promise((yes) => c.streamManagement.once("resumed", yes));
      c.socket.socket.close(); // no word to the stream: the network went away
      return resumed;
    },
    leave: () => c.stop(),
  };
}

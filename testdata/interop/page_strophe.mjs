// SPDX-License-Identifier: Apache-2.0
// A person with strophe.js: it builds XML, and brings stream management for WebSockets.
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const NS = {
  mam: "urn:xmpp:mam:2", rsm: "http://jabber.org/protocol/rsm", carbons: "urn:xmpp:carbons:2", forward: "urn:xmpp:forward:0", receipts: "urn:xmpp:receipts",
  muc: "http://jabber.org/protocol/muc", pubsub: "http://jabber.org/protocol/pubsub", nick: "http://jabber.org/protocol/nick", upload: "urn:xmpp:http:upload:0",
};

const all = (el, name) => [...el.getElementsByTagName(name)];
const one = (el, name) => all(el, name)[0];
const child = (el, name) => [...el.childNodes].find((k) => k.nodeName === name);
const text = (el, name) => child(el, name)?.textContent;

// requests are those of pages, which node does not have; xhr2 knows no responseXML.
function requests(require) {
  const XHR = require("xhr2"), { DOMParser } = require("@xmldom/xmldom");
  return class extends XHR {
    constructor() {
      super();
      const parse = () => (this.readyState === 4 && this.responseText ? new DOMParser().parseFromString(this.responseText, "text/xml") : null);
      Object.defineProperty(this, "responseXML", { get: parse, set() {} });
    }
  };
}

export async function enter({ name, resource, password, way, modules, url, heard }) {
  const { Strophe, $iq, $msg, $pres } = await import(pathToFileURL(path.join(modules, "strophe.js/dist/strophe.node.esm.js")));
  globalThis.XMLHttpRequest ??= requests(createRequire(path.join(modules, "x.js")));
  Strophe.setLogLevel(Strophe.LogLevel.FATAL);
  const { CONNECTED, DISCONNECTED, AUTHFAIL, CONNFAIL } = Strophe.Status;
  const service = way === "bosh" ? url + "/http-bind" : url.replace("https", "wss") + "/ws";
  const c = new Strophe.Connection(service, { enableStreamManagement: way === "websocket" });
  const results = [];
  function listen() { // a lost connection has lost them, too
    c.addHandler((s) => { tell(s); return true; }, null, "message");
    c.addHandler((s) => { heard({ kind: "presence", from: s.getAttribute("from"), type: s.getAttribute("type") ?? undefined, show: text(s, "show") }); return true; }, null, "presence");
    c.addHandler((s) => { // xmldom has no children, by which strophe.js would look for a namespace
      if (child(s, "query")?.getAttribute("xmlns") === "jabber:iq:roster") {
        heard({ kind: "push", jid: one(s, "item").getAttribute("jid") });
        c.send($iq({ type: "result", id: s.getAttribute("id") }));
      }
      return true;
    }, null, "iq", "set");
  }
  function tell(s) {
    const from = s.getAttribute("from");
    const result = child(s, "result");
    if (result) return results.push(text(one(result, "message"), "body"));
    for (const copy of ["sent", "received"]) {
      const el = child(s, copy);
      if (el?.getAttribute("xmlns") === NS.carbons) return heard({ kind: "message", copy, body: text(one(el, "message"), "body"), from: one(el, "message").getAttribute("from") });
    }
    if (child(s, "received")) return heard({ kind: "receipt", id: child(s, "received").getAttribute("id"), from });
    heard({ kind: "message", from, type: s.getAttribute("type"), id: s.getAttribute("id"), body: text(s, "body"), delay: child(s, "delay")?.getAttribute("stamp") });
  }
  let wanted;
  const status = (state, why) => {
    if (state === AUTHFAIL || state === CONNFAIL) wanted?.no(new Error(`${name}: ${why}`));
    if (state === CONNECTED && wanted?.state === CONNECTED || state === DISCONNECTED && wanted?.state === DISCONNECTED) wanted.yes();
  };
  const until = (state) => new Promise((yes, no) => { wanted = { state, yes, no }; });
  const online = until(CONNECTED);
  listen();
  c.connect(`${name}@localhost/${resource}`, password, status);
  await online;
  const ask = (iq) => new Promise((yes, no) => c.sendIQ(iq, yes, (e) => no(new Error(e ? Strophe.serialize(e) : "no answer")), 15_000));

  return {
    jid: c.jid,
    presence({ to, type, show }) {
      const p = $pres(Object.fromEntries(Object.entries({ to, type }).filter(([, v]) => v)));
      c.send(show ? p.c("show").t(show) : p);
    },
    roster: async () => all(await ask($iq({ type: "get" }).c("query", { xmlns: "jabber:iq:roster" })), "item")
      .map((i) => ({ jid: i.getAttribute("jid"), name: i.getAttribute("name"), subscription: i.getAttribute("subscription") })),
    put: (jid, name) => ask($iq({ type: "set" }).c("query", { xmlns: "jabber:iq:roster" }).c("item", { jid, name })),
    write({ to, type, id, body, receipt }) {
      const m = $msg({ to, type, id }).c("body").t(body);
      c.send(receipt ? m.up().c("request", { xmlns: NS.receipts }) : m);
    },
    receipt: (m) => c.send($msg({ to: m.from, type: "chat" }).c("received", { xmlns: NS.receipts, id: m.id })),
    carbons: () => ask($iq({ type: "set" }).c("enable", { xmlns: NS.carbons })),
    async history(jid) {
      results.length = 0;
      await ask($iq({ type: "set" }).c("query", { xmlns: NS.mam }).c("x", { xmlns: "jabber:x:data", type: "submit" })
        .c("field", { var: "FORM_TYPE" }).c("value").t(NS.mam).up().up().c("field", { var: "with" }).c("value").t(jid).up().up().up()
        .c("set", { xmlns: NS.rsm }).c("max").t("50"));
      return results.filter(Boolean);
    },
    join: (room, nick) => c.send($pres({ to: `${room}/${nick}` }).c("x", { xmlns: NS.muc })),
    settle: (room) => ask($iq({ type: "set", to: room }).c("query", { xmlns: NS.muc + "#owner" }).c("x", { xmlns: "jabber:x:data", type: "submit" })),
    publish: (nick) => ask($iq({ type: "set" }).c("pubsub", { xmlns: NS.pubsub }).c("publish", { node: NS.nick }).c("item").c("nick", { xmlns: NS.nick }).t(nick)),
    published: async (jid) => all(await ask($iq({ type: "get", to: jid }).c("pubsub", { xmlns: NS.pubsub }).c("items", { node: NS.nick })), "nick").map((n) => n.textContent),
    async slot(filename, size) {
      const a = await ask($iq({ type: "get", to: "localhost" }).c("request", { xmlns: NS.upload, filename, size: String(size) }));
      return { put: one(a, "put").getAttribute("url"), get: one(a, "get").getAttribute("url") };
    },
    ping: (jid) => ask($iq({ type: "get", to: jid }).c("ping", { xmlns: "urn:xmpp:ping" })),
    cut() {
      if (way === "bosh") return null;
      const gone = until(DISCONNECTED);
      c._proto.socket.close(); // no word to the stream: the network went away
      return gone.then(() => {
        const back = until(CONNECTED);
        listen();
        c.connect(`${name}@localhost/${resource}`, password, status);
        return back;
      }).then(() => { if (!c.wasResumed?.() && !c.sm.resumed) throw new Error("not resumed"); });
    },
    leave: () => { const gone = until(DISCONNECTED); c.disconnect(); return gone; },
  };
}

// The status panel: brokers, this gateway, publishers, and all losses with their reasons.

import { age, asOf, bytes, count, rate, words } from "./format.js";
import { byId, make, setText } from "./dom.js";
import { linkRows, storeRows } from "./status_model.js";

const SOURCES_SHOWN = 12;
const POLL_MS = 2000;
const POLL_LIMIT_MS = 5000;

// Events that were on their way to a client that disconnected or unsubscribed.
const HARMLESS = ["client_gone", "unsubscribed"];

const rateText = (value) => (value === null ? "–" : `${rate(value)}/s`);
const bytesText = (value) => (value === null ? "–" : `${bytes(value)}/s`);

export class StatusView {
  #box = byId("status");

  draw(watch) {
    const { status } = watch;
    const sections = [];
    const now = performance.now();
    for (const [broker, label] of status.labelled()) sections.push(...this.#broker(label, broker, watch, now));
    if (status.brokers.size === 0) {
      const text = watch.state === "live" ? "metrics arrive every few seconds" : "no metrics yet";
      sections.push(heading("Broker", watch.state), facts([["", text]]));
    }
    const since = watch.staleSince(now);
    sections.push(...this.#gateway(status.gateway, watch, now), ...this.#drops(status, since),
      ...this.#sources(status, since));
    if (this.#same(sections)) return;
    this.#box.replaceChildren(...sections);
  }

  // Unchanged sections are not replaced: that would lose a selection and interrupt a screen reader.
  #same(sections) {
    const old = [...this.#box.children];
    return old.length === sections.length && old.every((element, index) => element.isEqualNode(sections[index]));
  }

  #broker(name, { figures, updatedMs, freshness }, watch, now) {
    const since = freshness.staleSince(now);
    const state = watch.state === "live" && since !== null ? "waiting" : watch.state;
    const started = figures.get("started_seconds");
    const up = (role) => figures.get(`participants.${role}.up`);
    const rows = [
      ["events in", rateText(figures.rate("received_total"))],
      ["bytes in", bytesText(figures.rate("published_bytes_total"))],
      ["topics", count(figures.get("topics"))],
      ["history", `${count(figures.get("history_events"))} · ${bytes(figures.get("history_bytes"))}`],
      ["publishers", withDown(up("publisher"), figures.get("participants.publisher.down"))],
      ["gateways", withDown(up("gateway"), figures.get("participants.gateway.down"))],
      ["direct clients", count(up("client"))],
      ...linkRows(figures),
      ["uptime", started > 0 ? age(Math.max(0, updatedMs / 1000 - started)) : "–"],
    ];
    rows.splice(4, 0, ...storeRows(figures, updatedMs));
    if (figures.get("draining") > 0) rows.unshift(["", "draining"]);
    return [heading(`Broker ${name}`, state, since), facts(rows, since)];
  }

  #gateway(gateway, watch, now) {
    const clients = (text) => make("dd", { text, "data-testid": "status-clients", id: "status-clients" });
    const state = watch.state === "away" ? "away" : "live";
    if (!gateway) {
      const list = make("dl", { class: "facts" }, make("dt", { text: "clients" }), clients("–"));
      return [heading("This gateway", state), list];
    }
    const { figures, freshness } = gateway;
    const since = freshness.staleSince(now);
    const list = facts([
      ["subscriptions", count(figures.get("subscriptions"))],
      ["events out", rateText(figures.rate("delivered_total"))],
      ["bytes out", bytesText(figures.rate("sent_bytes_total"))],
      ["backlog", bytes(figures.get("backlog_bytes"))],
      ["recovered", count(figures.get("recovered_total"))],
    ], since);
    list.prepend(make("dt", { text: "clients" }), clients(count(figures.get("clients"))));
    return [heading("This gateway", state, since), list];
  }

  #drops(status, since) {
    const drops = status.drops();
    const list = facts([], since);
    list.id = list.dataset.testid = "status-drops";
    for (const [where, reason, lost] of drops) {
      list.append(make("dt", { text: `${where}: ${words(reason)}` }), make("dd", { class: HARMLESS.includes(reason) ? null : "bad", text: count(lost) }));
    }
    if (drops.length === 0) list.append(make("dt", { class: "wide", text: "nothing" }));
    return [heading("Dropped and refused", "none", since), list];
  }

  #sources(status, since) {
    if (status.sources.size === 0) return [];
    const all = [...status.sources].sort(([a, x], [b, y]) => x.up - y.up || (a < b ? -1 : 1));
    const rows = all.slice(0, SOURCES_SHOWN).map(([name, { up, reason }]) => {
      const down = reason ? `down, ${reason}` : "down";
      return [name, up ? "up" : down, !up && reason !== "closed"];
    });
    if (all.length > SOURCES_SHOWN) rows.push([`and ${count(all.length - SOURCES_SHOWN)} more`, ""]);
    return [heading("Publishers", "none", since), facts(rows, since)];
  }
}

const withDown = (up, down) => (down > 0 ? `${count(up)} (${count(down)} down)` : count(up));

// `since`: when figures that are stale were last updated (ms), else null.
function heading(text, state, since = null) {
  const element = make("h3", { "data-state": state }, make("span", { class: "name", text, title: text }));
  if (since !== null) element.append(make("span", { class: "as-of", "data-testid": "stale", text: asOf(since) }));
  return element;
}

function facts(rows, since = null) {
  const list = make("dl", { class: "facts", "data-stale": since !== null });
  for (const [name, text, bad] of rows) {
    if (name === "") list.append(make("dd", { class: "wide", text }));
    else list.append(make("dt", { text: name, title: name }), make("dd", { text, class: bad ? "bad" : null }));
  }
  return list;
}

// Requests the gateway's status every 2 s while the page is visible. One request at a time: a gateway that has stopped
// does not reply.
export function pollStatus(status, credentials, changed) {
  let requested = false;
  const poll = async () => {
    if (document.hidden || requested) return;
    requested = true;
    try {
      const response = await fetch("v1/status", { cache: "no-store", headers: credentials.headers, signal: AbortSignal.timeout(POLL_LIMIT_MS) });
      const body = await response.json();
      if (response.ok) credentials.see(body.user);
      else if (response.status === 401) credentials.refused({ code: body.code, text: body.detail });
      // With a policy, only users with `admin` get figures.
      if (response.ok && body.counters) status.update(body, performance.now());
      setText(byId("total-clients"), status.gateway ? count(status.gateway.figures.get("clients")) : "–");
    } catch {
      // The figures become stale, and the connection's state shows that there is no gateway.
    }
    requested = false;
    changed();
  };
  poll();
  setInterval(poll, POLL_MS);
  document.addEventListener("visibilitychange", poll);
}

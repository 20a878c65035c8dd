// The status panel: brokers, this gateway, publishers, and all losses with their reasons.

import { age, bytes, count, rate, words } from "./format.js";
import { byId, make, setText } from "./dom.js";

const SOURCES_SHOWN = 12;

// Events that were on their way to a client that disconnected or unsubscribed.
const HARMLESS = ["client_gone", "unsubscribed"];

const rateText = (value) => (value === null ? "–" : `${rate(value)}/s`);
const bytesText = (value) => (value === null ? "–" : `${bytes(value)}/s`);

export class StatusView {
  #box = byId("status");

  draw(watch) {
    const { status } = watch;
    const sections = [];
    for (const [name, broker] of status.brokers) sections.push(...this.#broker(name, broker, watch));
    if (status.brokers.size === 0) {
      const text = watch.state === "live" ? "metrics arrive every few seconds" : "no metrics yet";
      sections.push(heading("Broker", watch.state), facts([["", text]]));
    }
    sections.push(...this.#gateway(status.gateway, watch), ...this.#drops(status), ...this.#sources(status));
    if (this.#same(sections)) return;
    this.#box.replaceChildren(...sections);
  }

  // Unchanged sections are not replaced: that would lose a selection and interrupt a screen reader.
  #same(sections) {
    const old = [...this.#box.children];
    return old.length === sections.length && old.every((element, index) => element.isEqualNode(sections[index]));
  }

  #broker(name, { figures, updatedMs }, watch) {
    const state = watch.state === "live" ? "live" : watch.state;
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
      ["uptime", started > 0 ? age(Math.max(0, updatedMs / 1000 - started)) : "–"],
    ];
    if (figures.get("draining") > 0) rows.unshift(["", "draining"]);
    return [heading(`Broker ${name}`, state), facts(rows)];
  }

  #gateway(gateway, watch) {
    const clients = (text) => make("dd", { text, "data-testid": "status-clients", id: "status-clients" });
    const state = watch.state === "away" ? "away" : "live";
    if (!gateway) {
      const list = make("dl", { class: "facts" }, make("dt", { text: "clients" }), clients("–"));
      return [heading("This gateway", state), list];
    }
    const { figures } = gateway;
    const list = facts([
      ["subscriptions", count(figures.get("subscriptions"))],
      ["events out", rateText(figures.rate("delivered_total"))],
      ["bytes out", bytesText(figures.rate("sent_bytes_total"))],
      ["backlog", bytes(figures.get("backlog_bytes"))],
      ["recovered", count(figures.get("recovered_total"))],
    ]);
    list.prepend(make("dt", { text: "clients" }), clients(count(figures.get("clients"))));
    return [heading("This gateway", state), list];
  }

  #drops(status) {
    const drops = status.drops();
    const list = make("dl", { class: "facts", "data-testid": "status-drops", id: "status-drops" });
    for (const [where, reason, lost] of drops) {
      list.append(make("dt", { text: `${where}: ${words(reason)}` }), make("dd", { class: HARMLESS.includes(reason) ? null : "bad", text: count(lost) }));
    }
    if (drops.length === 0) list.append(make("dt", { class: "wide", text: "nothing" }));
    return [heading("Dropped and refused", "none"), list];
  }

  #sources(status) {
    if (status.sources.size === 0) return [];
    const all = [...status.sources].sort(([a, x], [b, y]) => x.up - y.up || (a < b ? -1 : 1));
    const rows = all.slice(0, SOURCES_SHOWN).map(([name, { up, reason }]) => {
      const down = reason ? `down, ${reason}` : "down";
      return [name, up ? "up" : down, !up && reason !== "closed"];
    });
    if (all.length > SOURCES_SHOWN) rows.push([`and ${count(all.length - SOURCES_SHOWN)} more`, ""]);
    return [heading("Publishers", "none"), facts(rows)];
  }
}

const withDown = (up, down) => (down > 0 ? `${count(up)} (${count(down)} down)` : count(up));

const heading = (text, state) => make("h3", { "data-state": state }, make("span", { class: "name", text, title: text }));

function facts(rows) {
  const list = make("dl", { class: "facts" });
  for (const [name, text, bad] of rows) {
    if (name === "") list.append(make("dd", { class: "wide", text }));
    else list.append(make("dt", { text: name, title: name }), make("dd", { text, class: bad ? "bad" : null }));
  }
  return list;
}

// Requests the gateway's status every 2 s while the page is visible.
export function pollStatus(status, changed) {
  const poll = async () => {
    if (document.hidden) return;
    try {
      const response = await fetch("v1/status", { cache: "no-store" });
      if (response.ok) status.update(await response.json(), performance.now());
      setText(byId("total-clients"), status.gateway ? count(status.gateway.figures.get("clients")) : "–");
    } catch {
      // The connection's state shows that there is no gateway.
    }
    changed();
  };
  poll();
  setInterval(poll, 2000);
}

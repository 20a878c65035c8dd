// The state of the brokers and of this gateway, from $SYS events and /v1/status. Names: docs/operations.md.

import { age, bytes, count } from "./format.js";
import { Freshness } from "./freshness.js";

const SOURCES_MAX = 1000;
const STATS_MS = 5000;  // a broker's stats_every by default
const POLL_MS = 2000;  // of the gateway's status, see pollStatus()
const BROKER_KEPT_MS = 60_000;  // a silent broker, after another has taken its place

// The newest counters, and their rates since the update before.
export class Figures {
  counters = {};
  #before = null;
  #at = null;
  #beforeAt = null;

  update(counters, now) {
    this.#before = this.counters;
    this.#beforeAt = this.#at;
    // 64-bit numbers are strings in the JSON of typed payloads.
    this.counters = Object.fromEntries(Object.entries(counters).map(([name, value]) => [name, Number(value)]));
    this.#at = now;
  }

  get(name) {
    return this.counters[name] ?? 0;
  }

  rate(name) {
    if (this.#beforeAt === null || this.#at <= this.#beforeAt) return null;
    const grown = this.get(name) - (this.#before[name] ?? 0);
    // Less than before: the counter was reset.
    return grown < 0 ? null : grown / ((this.#at - this.#beforeAt) / 1000);
  }

  // [label, value] of all counters `name.LABEL` above 0, largest first.
  labelled(name) {
    const prefix = `${name}.`;
    return Object.entries(this.counters)
      .filter(([each, value]) => each.startsWith(prefix) && value > 0)
      .map(([each, value]) => [each.slice(prefix.length), value])
      .sort((a, b) => b[1] - a[1]);
  }
}

export class StatusModel {
  brokers = new Map();  // by backplane and broker: {backplane, figures, stream, updatedMs, freshness}
  sources = new Map();  // by name: {up, reason}
  gateway = null;  // {backplane, broker, figures, freshness}
  aheadMs = null;  // how far this machine's clock is ahead of the broker's; null if unknown

  // Takes an event of a $SYS topic, received at `now`. @returns whether it was about status.
  event(event, now) {
    const data = event.data;
    if (data === undefined || data === null) return false;
    if (/^\$SYS\.broker\..+\.stats$/.test(event.topic) && data.counters) {
      this.#stats(event, data, now);
      return true;
    }
    if (event.topic.startsWith("$SYS.source.")) {
      if (this.sources.size < SOURCES_MAX || this.sources.has(data.name)) {
        this.sources.set(data.name, { up: data.up === true, reason: data.reason ?? "" });
      }
      return true;
    }
    return false;
  }

  #stats(event, { backplane, counters }, now) {
    // The upper half of a stream's number is the broker, the lower half its incarnation.
    const key = `${backplane} ${event.stream.slice(0, 8)}`;
    for (const [other, { backplane: name, updatedMs }] of this.brokers) {
      if (other !== key && name === backplane && Date.now() - updatedMs > BROKER_KEPT_MS) this.brokers.delete(other);
    }
    let broker = this.brokers.get(key);
    if (!broker || broker.stream !== event.stream) {
      broker = { backplane, figures: new Figures(), stream: event.stream, freshness: new Freshness(STATS_MS) };
      this.brokers.set(key, broker);
    } else if (broker.freshness.staleSince(now) === null) {
      // The first event after a connection is the retained one, which may be older.
      this.aheadMs = Date.now() - Date.parse(event.received);
    }
    broker.figures.update(counters, Date.parse(event.received));
    broker.updatedMs = Date.now();
    broker.freshness.updated(now, broker.updatedMs);
  }

  // No broker is connected: what they reported is stale.
  end() {
    for (const { freshness } of this.brokers.values()) freshness.end();
  }

  // Of the gateway and the brokers.
  freshnesses() {
    return [...(this.gateway ? [this.gateway] : []), ...this.brokers.values()].map(({ freshness }) => freshness);
  }

  // [broker, label] of each broker; the label is unique.
  labelled() {
    const all = [...this.brokers.values()];
    return all.map((broker) => {
      const same = all.filter(({ backplane }) => backplane === broker.backplane).length > 1;
      return [broker, same ? `${broker.backplane} (${broker.stream.slice(0, 8)})` : broker.backplane];
    });
  }

  // Takes a reply of /v1/status.
  update({ backplane, broker, counters }, now) {
    this.gateway ??= { figures: new Figures(), freshness: new Freshness(POLL_MS) };
    Object.assign(this.gateway, { backplane, broker });
    this.gateway.figures.update(counters ?? {}, now);
    this.gateway.freshness.updated(now);
  }

  // All losses: [[where, reason, count], …].
  drops() {
    const drops = [];
    if (this.gateway) {
      const { figures } = this.gateway;
      for (const [reason, lost] of figures.labelled("dropped_total")) drops.push(["to clients", reason, lost]);
      for (const [reason, lost] of figures.labelled("lost_total")) drops.push(["from broker", reason, lost]);
    }
    for (const [{ figures }, label] of this.labelled()) {
      const at = this.brokers.size > 1 ? ` ${label}` : "";
      for (const [reason, lost] of figures.labelled("rejected_total")) drops.push([`refused${at}`, reason, lost]);
      if (figures.get("lossy_sends_total") > 0) {
        drops.push([`from broker${at}`, "full_subscriber", figures.get("lossy_sends_total")]);
      }
      if (figures.get("lost_before_total") > 0) {
        drops.push([`before broker${at}`, "lost_before", figures.get("lost_before_total")]);
      }
    }
    return drops;
  }
}

// The links that publish to a broker or read from it, as [name, text, bad]; nothing if there are none.
export function linkRows(figures) {
  const [up, down, lost] = ["links_up", "links_down", "links_lost"].map((name) => figures.get(name));
  if (up + down === 0) return [];
  const rows = [
    ["links", down > 0 ? `${count(up)} (${count(down)} down)` : count(up)],
    ["lag of links", `${count(figures.get("links_lag_positions"))} events`],
  ];
  if (lost > 0) rows.push(["lost by links", count(lost), true]);
  return rows;
}

// What a broker's store on disk has, as [name, text, bad]; nothing if the history is in memory.
export function storeRows(figures, nowMs) {
  const [info] = figures.labelled("store_info.file");
  if (!info) return [];
  const [sync] = info;
  const oldest = figures.get("store_oldest_seconds");
  const damaged = figures.get("store_damaged_ranges");
  const rows = [
    ["store", `${bytes(figures.get("store_bytes"))} of ${bytes(figures.get("store_bytes_max"))}`],
    ["segments", count(figures.get("store_segments"))],
    ["oldest event", oldest > 0 ? age(Math.max(0, nowMs / 1000 - oldest)) : "–"],
    ["store sync", /^[0-9]/.test(sync) ? `every ${sync}` : sync],
    ["store queue", bytes(figures.get("store_queued_bytes"))],
  ];
  if (damaged > 0) rows.push(["store damage", `${count(damaged)} places`, true]);
  if (figures.get("store_full") > 0) rows.push(["store", "full: publishers wait", true]);
  return rows;
}

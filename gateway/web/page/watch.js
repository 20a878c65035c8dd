// What the page shows without any subscription: all topics, the values of those on screen, the state of the brokers,
// and the publishers. One connection, which reconnects. Of the document it knows only whether it is visible.

import { Connection } from "./connection.js";
import { isRefusal } from "./credentials.js";
import { Freshness } from "./freshness.js";
import { Topics, topicsPattern } from "./topics_model.js";
import { StatusModel } from "./status_model.js";

const POLL_MS = { shortest: 2000, longest: 10_000 };
const LIST_LIMIT_MS = 30_000;  // without a reply, the list is requested again
const TOPICS_PER_SECOND = 20_000;  // on average: a list of more topics is requested less often
const STATS = ["$SYS.broker.*.stats", "$SYS.source.>"];

// How long to wait before the next list of topics. Depends on the number of topics, not on the time that the reply took:
// under load, a reply takes long, and then the rates are needed most.
export function listPauseMs(topics) {
  return Math.min(POLL_MS.longest, Math.max(POLL_MS.shortest, (1000 * topics) / TOPICS_PER_SECOND));
}

// `state`: connecting, live, waiting (no broker), away (no gateway). `on` has changed(), topics(), value(name).
export class Watch {
  state = "connecting";
  reason = "";
  retryAt = 0;
  topics = new Topics();
  freshness = new Freshness(POLL_MS.shortest);  // of the topics
  status = new StatusModel();

  #on;
  #shown = new Set();
  #find = "";
  #timer = null;
  #requestedAt = null;
  #connection;

  constructor(url, on, options) {
    this.#on = on;
    this.#connection = new Connection(url, {
      open: () => this.#begin(),
      message: (message) => this.#receive(message),
      state: (state, detail) => this.#connectionState(state, detail),
    }, options);
  }

  // The time now by the broker's clock, in ms, as far as it is known.
  brokerNow() {
    return Date.now() - (this.status.aheadMs ?? 0);
  }

  retryNow() {
    this.#connection.retryNow();
  }

  // Sets the topics whose values are needed: those on screen.
  show(names) {
    for (const name of this.#shown) {
      if (!names.has(name)) this.#connection.send(`UNSUB ${name}`);
    }
    for (const name of names) {
      if (!this.#shown.has(name)) this.#connection.send(`SUB ${name} last every=1s`);
    }
    this.#shown = new Set(names);
  }

  find(text) {
    const before = topicsPattern(this.#find);
    this.#find = text;
    if (topicsPattern(text) !== before) this.refresh();
  }

  // Requests the topics now, and then regularly.
  refresh() {
    const now = performance.now();
    const isPending = this.#requestedAt !== null && now - this.#requestedAt < LIST_LIMIT_MS;
    if (isPending || document.hidden) return;
    clearTimeout(this.#timer);
    if (!this.#connection.send(`TOPICS ${topicsPattern(this.#find)}`)) return;
    this.#requestedAt = now;
    this.#timer = setTimeout(() => this.refresh(), LIST_LIMIT_MS + 100);
    this.topics.begin();
  }

  // When the oldest of what the page shows without a subscription was updated, if a part of it is stale; else null.
  staleSince(now) {
    const all = [this.freshness, ...this.status.freshnesses()].map((each) => each.staleSince(now)).filter((at) => at !== null);
    return all.length > 0 ? Math.min(...all) : null;
  }

  #begin() {
    this.#requestedAt = null;
    for (const pattern of STATS) this.#connection.send(`SUB ${pattern} last`);
    for (const name of this.#shown) this.#connection.send(`SUB ${name} last every=1s`);
    this.refresh();
  }

  #connectionState(state, { retryAt, reason }) {
    if (state !== "away") return;
    clearTimeout(this.#timer);
    this.#requestedAt = null;
    this.#end();
    this.status.gateway?.freshness.end();
    this.retryAt = retryAt;
    this.#set("away", reason);
  }

  #receive(message) {
    switch (message.kind) {
      case "event":
        if (message.event.topic.startsWith("$SYS.") && this.status.event(message.event, performance.now())) {
          this.#on.changed();
        }
        this.topics.value(message.event);
        this.#on.value(message.event.topic);
        break;
      case "topic":
        this.topics.add(message);
        break;
      case "ok":
        if (message.word === "TOPICS") this.#listed(true);
        if (message.word === "SUB" && this.state !== "live") this.#set("live");
        break;
      case "error":
        // Only a policy refuses these subscriptions. A broker may be there all the same.
        if (isRefusal(message) && this.state === "connecting") this.#set("live");
        if (this.#requestedAt !== null) this.#listed(false);
        break;
      case "wait":
        this.#end();
        this.#set("waiting");
        break;
      case "live":
        this.#set("live");
        this.refresh();
        break;
      default:
    }
  }

  #listed(complete) {
    const now = performance.now();
    this.#requestedAt = null;
    if (complete) {
      this.topics.end(now);
      this.freshness.updated(now);
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.refresh(), listPauseMs(this.topics.total));
    this.#on.topics();
  }

  // The broker is gone: what it last reported is stale.
  #end() {
    this.freshness.end();
    this.status.end();
  }

  #set(state, reason = "") {
    this.state = state;
    this.reason = reason;
    this.#on.changed();
  }
}

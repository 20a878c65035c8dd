// What the page shows without any subscription: all topics, the values of those on screen, the state of the brokers,
// and the publishers. One connection, which reconnects. Of the document it knows only whether it is visible.

import { Connection } from "./connection.js";
import { Topics, topicsPattern } from "./topics_model.js";
import { StatusModel } from "./status_model.js";

const POLL_MS = 2000;
const TIME_SHARE = 10;  // listing takes at most a tenth of the time, with any number of topics
const STATS = ["$SYS.broker.*.stats", "$SYS.source.>"];

// `state`: connecting, live, waiting (no broker), away (no gateway). `on` has changed(), topics(), value(name).
export class Watch {
  state = "connecting";
  reason = "";
  retryAt = 0;
  topics = new Topics();
  status = new StatusModel();

  #on;
  #shown = new Set();
  #find = "";
  #timer = null;
  #requestedAt = null;
  #connection;

  constructor(url, on) {
    this.#on = on;
    this.#connection = new Connection(url, {
      open: () => this.#begin(),
      message: (message) => this.#receive(message),
      state: (state, detail) => this.#connectionState(state, detail),
    });
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
    clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#requestedAt !== null || document.hidden) return;
    if (!this.#connection.send(`TOPICS ${topicsPattern(this.#find)}`)) return;
    this.#requestedAt = performance.now();
    this.topics.begin();
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
    this.retryAt = retryAt;
    this.#set("away", reason);
  }

  #receive(message) {
    switch (message.kind) {
      case "event":
        if (message.event.topic.startsWith("$SYS.") && this.status.event(message.event)) this.#on.changed();
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
        // The subscriptions cannot be refused: a topic that is gone is still a valid one.
        if (this.#requestedAt !== null) this.#listed(false);
        break;
      case "wait":
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
    const took = now - (this.#requestedAt ?? now);
    this.#requestedAt = null;
    if (complete) this.topics.end(now);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.refresh(), Math.max(POLL_MS, TIME_SHARE * took));
    this.#on.topics();
  }

  #set(state, reason = "") {
    this.state = state;
    this.reason = reason;
    this.#on.changed();
  }
}

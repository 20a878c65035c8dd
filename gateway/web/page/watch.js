// The overview's conversation with the gateway: which topics there are, the values of those on screen, how the
// brokers are, and who publishes. One connection, made anew whenever it is lost. Of the
// document it knows only whether it is seen.

import { Connection } from "./connection.js";
import { Topics, topicsPattern } from "./topics_model.js";
import { StatusModel } from "./status_model.js";

const POLL_MS = 2000;
const TIME_SHARE = 10;  // asking takes at most a tenth of the time, however many topics there are
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

  // The topics whose values are wanted, which are those on screen.
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

  // Asks for the topics now, and from then on as often as is fitting.
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
        // Of a subscription nothing can be wrong: a topic that has gone is still a topic.
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

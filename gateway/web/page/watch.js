// The overview's conversation with the gateway: which topics there are, the values of those on screen, how the
// brokers are, and who publishes. One connection, made anew whenever it is lost. Of the
// document it knows only whether it is seen.

import { Connection } from "./connection.js";
import { Topics, topicsPattern } from "./topics_model.js";
import { StatusModel } from "./status_model.js";

const POLL_MS = 2000;
const SHARE = 10;  // asking takes at most a tenth of the time, however many topics there are
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
  #askedAt = null;
  #connection;

  constructor(url, on) {
    this.#on = on;
    this.#connection = new Connection(url, {
      open: () => this.#begin(),
      message: (said) => this.#hear(said),
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
    if (topicsPattern(text) !== before) this.ask();
  }

  // Asks for the topics now, and from then on as often as is fitting.
  ask() {
    clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#askedAt !== null || document.hidden) return;
    if (!this.#connection.send(`TOPICS ${topicsPattern(this.#find)}`)) return;
    this.#askedAt = performance.now();
    this.topics.begin();
  }

  #begin() {
    this.#askedAt = null;
    for (const pattern of STATS) this.#connection.send(`SUB ${pattern} last`);
    for (const name of this.#shown) this.#connection.send(`SUB ${name} last every=1s`);
    this.ask();
  }

  #connectionState(state, { retryAt, reason }) {
    if (state !== "away") return;
    clearTimeout(this.#timer);
    this.#askedAt = null;
    this.retryAt = retryAt;
    this.#set("away", reason);
  }

  #hear(said) {
    switch (said.kind) {
      case "event":
        if (said.event.topic.startsWith("$SYS.") && this.status.event(said.event)) this.#on.changed();
        this.topics.value(said.event);
        this.#on.value(said.event.topic);
        break;
      case "topic":
        this.topics.hear(said);
        break;
      case "ok":
        if (said.word === "TOPICS") this.#answered(true);
        if (said.word === "SUB" && this.state !== "live") this.#set("live");
        break;
      case "error":
        // Of a subscription nothing can be wrong: a topic that has gone is still a topic.
        if (this.#askedAt !== null) this.#answered(false);
        break;
      case "wait":
        this.#set("waiting");
        break;
      case "live":
        this.#set("live");
        this.ask();
        break;
      default:
    }
  }

  #answered(complete) {
    const now = performance.now();
    const took = now - (this.#askedAt ?? now);
    this.#askedAt = null;
    if (complete) this.topics.end(now);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.ask(), Math.max(POLL_MS, SHARE * took));
    this.#on.topics();
  }

  #set(state, reason = "") {
    this.state = state;
    this.reason = reason;
    this.#on.changed();
  }
}

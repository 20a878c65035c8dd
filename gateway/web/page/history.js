// Reads the history of a pattern for a chart, over a connection of its own that closes when it has caught up. No DOM.

import { Connection } from "./connection.js";
import { subscribeLine } from "./protocol.js";

export const HISTORY_EVENTS_MAX = 200_000;
const START_MS = 50;  // several choices in a row open one connection
const IDLE_MS = 1500;  // after the reply to SUB, history comes without pauses
const LIMIT_MS = 15_000;

const CLOCK = {
  after: (ms, run) => setTimeout(run, ms),
  cancel: (timer) => clearTimeout(timer),
};

export class History {
  #on;
  #clock;
  #connection = null;
  #start;
  #idle = null;
  #limit;
  #events = 0;
  #ended = false;

  // Reads the last `windowS` seconds of `pattern`. `on` has event(event), which returns whether this event is known
  // already, and so everything after it, and end({complete, cut}): cut means that HISTORY_EVENTS_MAX was reached.
  constructor(url, pattern, windowS, on, options = {}) {
    this.#on = on;
    this.#clock = options.clock ?? CLOCK;
    this.#limit = this.#clock.after(LIMIT_MS, () => this.#end(false));
    this.#start = this.#clock.after(START_MS, () => {
      this.#connection = new Connection(url, {
        open: () => this.#connection.send(subscribeLine({ pattern, since: `${windowS}s` })),
        message: (message) => this.#receive(message),
        state: (state) => state === "away" && this.#end(false),
      }, options);
    });
  }

  // Whether it has neither ended nor been closed.
  get reading() {
    return !this.#ended;
  }

  close() {
    if (this.#ended) return;
    this.#ended = true;
    for (const timer of [this.#start, this.#idle, this.#limit]) this.#clock.cancel(timer);
    this.#connection?.close();
  }

  #receive(message) {
    switch (message.kind) {
      case "ok":
        if (message.word === "SUB") this.#wait();
        break;
      case "event":
        this.#events += 1;
        if (this.#on.event(message.event)) this.#end(true);
        else if (this.#events >= HISTORY_EVENTS_MAX) this.#end(true, true);
        else this.#wait();
        break;
      case "error":
        this.#end(true);
        break;
      case "wait":
        this.#end(false);
        break;
      default:
    }
  }

  #wait() {
    this.#clock.cancel(this.#idle);
    this.#idle = this.#clock.after(IDLE_MS, () => this.#end(true));
  }

  #end(complete, cut = false) {
    if (this.#ended) return;
    this.close();
    this.#on.end({ complete, cut });
  }
}

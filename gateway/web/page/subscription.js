// One subscription with a connection of its own, so that its options and its losses are its alone: what it has
// seen, where it goes on after a loss of the connection, and what is kept of it for the screen. No DOM.

import { Connection } from "./connection.js";
import { subscribeLine } from "./protocol.js";
import { ResumeToken, resumed } from "./token.js";
import { RateMeter } from "./rate.js";
import { Sampler } from "./sampler.js";
import { FieldFinder, readField } from "./fields.js";
import { Chart } from "./series.js";
import { Ring } from "./ring.js";
import { bytes, gapText, receivedMs, words } from "./format.js";

export const ROWS_MAX = 300;
export const ROWS_PER_TURN = 12;  // five turns a second: 60 rows a second can still be followed by eye
const KEPT_FOR_CHART = 5000;  // from which a chart begins when a field is chosen
const KEPT_SIZE_MAX = 8 << 20;  // of these, in characters
const EVENT_SIZE_MAX = 64 << 10;  // of what a larger event holds, nothing is kept but its size

// `state`: connecting, requested, live, waiting (no broker), away (no gateway), refused. `changed()` is called when
// what is shown beside the rows may be another.
export class Subscription {
  state = "connecting";
  problem = "";  // why it was refused, or why it is away
  received = 0;
  lost = 0;  // events announced as lost, as far as their number is known
  gaps = 0;
  resets = 0;
  rate = new RateMeter();
  rows = new Ring(ROWS_MAX);
  turn = { received: 0, shown: 0 };
  chart = null;
  field = "";

  #sampler = new Sampler(ROWS_PER_TURN);
  #finder = new FieldFinder();
  #recent = new Ring(KEPT_FOR_CHART, KEPT_SIZE_MAX);
  #token = new ResumeToken();
  #liveAt = null;
  #wasLive = false;
  #changed;
  #connection;

  constructor(url, request, changed, options) {
    this.request = request;
    this.#changed = changed;
    this.#connection = new Connection(url, {
      open: () => this.#subscribe(),
      message: (message) => this.#receive(message),
      state: (state, detail) => this.#connectionState(state, detail),
    }, options);
  }

  get fields() {
    return this.#finder.fields;
  }

  get token() {
    return this.#token.toString();
  }

  close() {
    this.#connection.close();
  }

  retryNow() {
    this.#connection.retryNow();
  }

  // Draws `field` over the last `windowS` seconds from now on, beginning with the events still known.
  plot(field, windowS) {
    this.field = field;
    this.chart = field ? new Chart(windowS) : null;
    if (!this.chart) return;
    for (const item of this.#recent) this.#plotItem(item);
  }

  // Moves what came since the last turn to the rows, oldest first. @returns the new rows.
  takeRows() {
    const { items, received } = this.#sampler.take();
    for (const item of items) this.rows.push(item);
    this.turn = { received, shown: items.filter((item) => item.kind === "event").length };
    return items;
  }

  clearRows() {
    this.rows.clear();
  }

  #subscribe() {
    this.#set("requested");
    this.#connection.send(subscribeLine(resumed(this.request, this.#token, this.#liveAt, Date.now())));
  }

  #connectionState(state, { reason }) {
    if (state !== "away") return;
    if (this.state === "refused") return;
    if (this.#wasLive && this.state !== "away") this.#note(`connection lost: ${words(reason)}`, "away");
    this.#set("away", words(reason));
  }

  #receive(message) {
    switch (message.kind) {
      case "event":
        this.#see(message);
        break;
      case "gap":
        this.#miss({ ...message, topic: message.topic, text: gapText(message) });
        if (message.first > 0 && message.last >= message.first) this.lost += message.last - message.first + 1;
        this.gaps += 1;
        break;
      case "reset":
        this.#miss({ ...message, text: "the broker came back without its history: numbering begins anew" });
        this.resets += 1;
        break;
      case "wait":
        this.#note("the broker is away", "away");
        this.#set("waiting");
        break;
      case "live":
        this.#note("the broker is back", "live");
        this.#set("live");
        break;
      case "ok":
        if (message.word !== "SUB") break;
        if (this.#wasLive) this.#note("subscribed again: what was missed follows, or is told of as lost", "live");
        this.#wasLive = true;
        this.#liveAt ??= Date.now();
        this.#set("live");
        break;
      case "error":
        // It will be refused again as often as it is asked.
        this.#set("refused", message.text || message.code);
        this.#connection.close();
        break;
      default:
    }
  }

  #see({ event, size }) {
    this.received += 1;
    this.rate.add(performance.now());
    this.#token.see(event.stream, event.position);
    const isNew = this.#finder.look(event);
    this.#keep({ kind: "event", event, size });
    if (isNew) this.#changed();
  }

  #miss(item) {
    this.#keep(item);
    this.#changed();
  }

  #note(text, tone) {
    this.#keep({ kind: "note", text, tone, at: Date.now() });
  }

  #keep(item) {
    item.at ??= item.kind === "event" ? receivedMs(item.event) : Date.now();
    if (this.chart && item.kind !== "note") this.#plotItem(item);
    const kept = item.size > EVENT_SIZE_MAX ? slim(item) : item;
    this.#sampler.add(kept);
    if (item.kind !== "note") this.#recent.push(kept);
  }

  #plotItem(item) {
    if (item.kind === "event") {
      const value = readField(item.event, this.field);
      if (value !== null) this.chart.add(item.event.topic, item.at / 1000, value);
    } else {
      // Of a pattern, nobody knows which of its topics it was.
      this.chart.breakAt(/[*>]/.test(item.topic) ? null : item.topic, item.at / 1000);
    }
  }

  #set(state, problem = "") {
    this.state = state;
    this.problem = problem;
    this.#changed();
  }
}

function slim(item) {
  const { data, text, base64, ...event } = item.event;
  return { ...item, size: 0, event: { ...event, text: `(${bytes(item.size)}: too large to be kept)` } };
}

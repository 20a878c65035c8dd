// One subscription, on a connection of its own because its options and losses are its own. Counts events and losses,
// resumes after a lost connection, and keeps rows and values for the screen. No DOM.

import { CLOCK, Connection } from "./connection.js";
import { History } from "./history.js";
import { subscribeLine } from "./protocol.js";
import { ReaderProgress, resumed } from "./token.js";
import { RateMeter } from "./rate.js";
import { Sampler } from "./sampler.js";
import { FieldFinder, readField } from "./fields.js";
import { Chart } from "./series.js";
import { Ring } from "./ring.js";
import { bytes, gapText, receivedMs, words } from "./format.js";

export const ROWS_MAX = 300;
export const ROWS_PER_TURN = 12;  // five turns a second: the eye can follow 60 rows a second
const KEPT_FOR_CHART = 5000;  // a new chart starts with these
const KEPT_SIZE_MAX = 8 << 20;  // of all of these, in characters
const EVENT_SIZE_MAX = 64 << 10;  // of a larger event, only the size is kept
const POSITION_MS = 1000;  // how often the position is requested while events arrive
const QUIET_POSITION_MS = 10_000;  // and otherwise

// `state`: connecting, requested, live, waiting (no broker), away (no gateway), refused. Calls `changed()` when something
// other than the rows may have changed.
export class Subscription {
  state = "connecting";
  stateAt = Date.now();  // when this state began
  problem = "";  // why it is refused or away
  received = 0;
  lost = 0;  // events announced as lost, if their number is known
  gaps = 0;
  resets = 0;
  rate = new RateMeter();
  rows = new Ring(ROWS_MAX);
  turn = { received: 0, shown: 0 };
  chart = null;
  field = "";
  historyCut = false;  // the chart's history is longer than the page reads

  #sampler = new Sampler(ROWS_PER_TURN);
  #finder = new FieldFinder();
  #recent = new Ring(KEPT_FOR_CHART, KEPT_SIZE_MAX);
  #progress = new ReaderProgress();
  // The gateway's replies to POSITION on this connection: how many, when the last one came, and its token until the next
  // message shows that it is complete.
  #position = { replies: 0, at: 0, timer: null, token: "" };
  #unconfirmed = false;  // the SUB of this connection
  #begunAt = null;  // when the first SUB that succeeded was sent
  #newest = new Map();  // by stream: the highest position received
  #wasLive = false;
  #url;
  #options;
  #clock;
  #changed;
  #connection;
  #windowS = 0;
  #history = null;
  #hasHistory = false;

  constructor(url, request, changed, options) {
    this.request = request;
    this.#url = url;
    this.#options = options;
    this.#changed = changed;
    this.#clock = options?.clock ?? CLOCK;
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
    return this.#progress.toString();
  }

  close() {
    this.#history?.close();
    this.#clock.cancel(this.#position.timer);
    this.#connection.close();
  }

  retryNow() {
    this.#connection.retryNow();
  }

  // Starts a chart of `field` over the last `windowS` seconds with the events that are still known, and reads history.
  // Without a field, history shows which fields there are. `windowS` 0: no chart.
  plot(field, windowS) {
    this.#history?.close();
    this.#history = null;
    this.#hasHistory = false;
    this.historyCut = false;
    this.#windowS = windowS;
    this.field = field;
    this.chart = field ? new Chart(windowS) : null;
    if (this.chart) for (const item of this.#recent) this.#plotItem(item);
    if (windowS > 0) this.#readHistory();
  }

  #readHistory() {
    this.#history?.close();
    const caughtUp = new Set();
    this.#history = new History(this.#url, this.request.pattern, this.#windowS, {
      event: (event) => {
        if (this.#finder.look(event)) this.#changed();
        if (this.chart) this.#plotItem({ kind: "event", event, at: receivedMs(event) });
        // What this subscription has received is in the chart already.
        if (event.position >= (this.#newest.get(event.stream) ?? Infinity)) caughtUp.add(event.stream);
        return caughtUp.size > 0 && caughtUp.size >= this.#newest.size;
      },
      end: ({ complete, cut }) => {
        this.#hasHistory = complete;
        this.historyCut = cut;
      },
    }, this.#options);
  }

  // Moves the events since the last turn to the rows, oldest first. @returns the new rows.
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
    const now = this.#clock.now();
    if (!this.#wasLive) this.#begunAt = now;
    this.#unconfirmed = true;
    this.#connection.send(subscribeLine(resumed(this.request, this.#progress, this.#wasLive ? now - this.#begunAt : null)));
  }

  // The gateway replies with the position before which everything has arrived. Events do not show that.
  #requestPosition() {
    this.#clock.cancel(this.#position.timer);
    this.#position.timer = null;
    this.#connection.send("POSITION");
  }

  #onPosition(token) {
    this.#position.token = token;
    this.#position.at = this.#clock.now();
    if (++this.#position.replies === 1) {
      this.#requestPosition();  // the second reply confirms the first
      return;
    }
    this.#position.timer = this.#clock.after(QUIET_POSITION_MS, () => this.#requestPosition());
  }

  #connectionState(state, { reason }) {
    if (state !== "away") return;
    this.#clock.cancel(this.#position.timer);
    this.#position = { replies: 0, at: 0, timer: null, token: "" };
    this.#progress.disconnected();
    if (this.state === "refused") return;
    if (this.#wasLive && this.state !== "away") this.#note(`connection lost: ${words(reason)}`, "away");
    this.#set("away", words(reason));
  }

  #receive(message) {
    // Losses from this client's backlog can be announced right after the reply to POSITION.
    if (message.kind !== "gap" && this.#position.token) {
      this.#progress.complete(this.#position.token);
      this.#position.token = "";
    }
    switch (message.kind) {
      case "event":
        this.#see(message);
        break;
      case "gap":
        if (message.first > 0) this.#progress.lose(message.topic, message.stream, message.last);
        this.#miss({ ...message, topic: message.topic, text: gapText(message) });
        if (message.first > 0 && message.last >= message.first) this.lost += message.last - message.first + 1;
        this.gaps += 1;
        break;
      case "reset":
        this.#progress.restart(message.stream);
        this.#miss({ ...message, text: "the broker restarted without its history: numbering starts again at 1" });
        this.resets += 1;
        break;
      case "wait":
        this.#note("no broker", "away");
        this.#set("waiting");
        break;
      case "live":
        this.#note("the broker is back", "live");
        this.#set("live");
        break;
      case "ok":
        if (message.word === "POSITION") this.#onPosition(message.rest);
        if (message.word !== "SUB") break;
        this.#unconfirmed = false;
        this.#requestPosition();
        if (this.#wasLive) this.#note("subscribed again: missed events follow, or are announced as lost", "live");
        this.#wasLive = true;
        this.#set("live");
        if (this.#windowS > 0 && !this.#hasHistory && !this.#history?.reading) this.#readHistory();
        break;
      case "error":
        if (!this.#unconfirmed) break;  // an older gateway does not know POSITION
        // A retry would be refused, too.
        this.#set("refused", message.text || message.code);
        this.#connection.close();
        break;
      default:
    }
  }

  #see({ event, size }) {
    if (!this.#progress.admit(event)) return;
    const position = this.#position;
    if (position.timer !== null && this.#clock.now() >= position.at + POSITION_MS) this.#requestPosition();
    this.received += 1;
    this.rate.add(performance.now());
    this.#newest.set(event.stream, Math.max(event.position, this.#newest.get(event.stream) ?? 0));
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
      // A gap of a pattern may be in any of its topics.
      this.chart.breakAt(/[*>]/.test(item.topic) ? null : item.topic, item.at / 1000);
    }
  }

  #set(state, problem = "") {
    if (state !== this.state) this.stateAt = Date.now();
    this.state = state;
    this.problem = problem;
    this.#changed();
  }
}

function slim(item) {
  const { data, text, base64, ...event } = item.event;
  return { ...item, size: 0, event: { ...event, text: `(${bytes(item.size)}: too large to keep)` } };
}

// A WebSocket to the gateway that reconnects, with growing pauses, when it is lost or silent. Knows nothing of the
// page; the clock and the socket are passed in.

import { isRefusal } from "./credentials.js";
import { parseLine } from "./protocol.js";

const PAUSE_MS = { first: 250, longest: 8000 };
const OPEN_LIMIT_MS = 10_000;
const PING_MS = 15_000;  // of silence; after twice that, the connection counts as lost

// The pause after `failures` failures in a row. Random, to spread the reconnects of many pages.
export function pauseMs(failures, random = Math.random()) {
  const longest = Math.min(PAUSE_MS.longest, PAUSE_MS.first * 2 ** Math.max(0, failures - 1));
  return Math.round(longest * (0.5 + random / 2));
}

export const CLOCK = {
  now: () => performance.now(),
  after: (ms, run) => setTimeout(run, ms),
  cancel: (timer) => clearTimeout(timer),
};

// `on` may have open(), called when connected, message(message), with the result of parseLine(), and
// state("connecting" | "open" | "away", detail): the detail of "away" is {retryAt, reason}. If `credentials` have a
// token, it is sent first, and the connection is open when the gateway has replied.
export class Connection {
  #on;
  #make;
  #clock;
  #socket = null;
  #timer = null;
  #failures = 0;
  #receivedAt = 0;
  #goodbye = "";
  #closed = false;
  #credentials;
  #authenticating = false;

  constructor(url, on, { make = (at) => new WebSocket(at), clock = CLOCK, credentials = null } = {}) {
    this.#credentials = credentials;
    this.url = url;
    this.#on = on;
    this.#make = make;
    this.#clock = clock;
    this.#connect();
  }

  get open() {
    return this.#socket?.readyState === 1 && !this.#authenticating;
  }

  // @returns false, and discards `line`, if there is no connection.
  send(line) {
    if (!this.open) return false;
    this.#socket.send(line);
    return true;
  }

  // Bytes that the browser has not sent yet.
  get waiting() {
    return this.#socket?.bufferedAmount ?? 0;
  }

  close() {
    this.#closed = true;
    this.#clock.cancel(this.#timer);
    this.#drop();
  }

  // Ends a pause. Does nothing if connected or connecting.
  retryNow() {
    if (this.#closed || this.#socket) return;
    this.#clock.cancel(this.#timer);
    this.#connect();
  }

  #connect() {
    this.#goodbye = "";
    this.#authenticating = false;
    this.#on.state?.("connecting", {});
    const socket = this.#make(this.url);
    this.#socket = socket;
    socket.onopen = () => {
      this.#receivedAt = this.#clock.now();
      this.#watch();
      const token = this.#credentials?.token;
      if (!token) {
        this.#opened();
        return;
      }
      this.#authenticating = true;
      socket.send(`AUTH ${token}`);
    };
    socket.onmessage = ({ data }) => {
      this.#receivedAt = this.#clock.now();
      this.#failures = 0;
      const message = parseLine(data);
      if (message.kind === "error" && isRefusal(message)) this.#credentials?.refused(message);
      if (this.#authenticating && (message.kind === "ok" || message.kind === "error")) {
        this.#authenticating = false;
        this.#opened();  // with a wrong token, it goes on as anonymous
        return;
      }
      if (message.kind === "bye") this.#goodbye = message.word;
      if (message.kind !== "pong") this.#on.message?.(message);
    };
    socket.onclose = ({ reason } = {}) => this.#lost(socket, this.#goodbye || reason || "the gateway does not respond");
    this.#timer = this.#clock.after(OPEN_LIMIT_MS, () => this.#lost(socket, "the gateway does not respond"));
  }

  #opened() {
    this.#on.state?.("open", {});
    this.#on.open?.();
  }

  #watch() {
    this.#clock.cancel(this.#timer);
    this.#timer = this.#clock.after(PING_MS, () => {
      const silent = this.#clock.now() - this.#receivedAt;
      if (silent >= 2 * PING_MS) {
        this.#lost(this.#socket, "the gateway stopped responding");
        return;
      }
      if (silent >= PING_MS) this.send("PING");
      this.#watch();
    });
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #lost(socket, reason) {
    if (socket !== this.#socket) return;
    this.#clock.cancel(this.#timer);
    this.#drop();
    const pause = pauseMs(++this.#failures);
    this.#timer = this.#clock.after(pause, () => this.#connect());
    this.#on.state?.("away", { retryAt: this.#clock.now() + pause, reason });
  }
}

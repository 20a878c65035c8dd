// Why a broker does not accept this program's keys, or their absence.

import { connect } from "node:net";
import { now } from "./time.js";

const RETRY_MS = 1000; // from one look at the broker to the next
const FRESH_MS = 3000; // a refusal is reported for this long
const LOOK_MS = 800; // how long a look may take
const RECONNECT_MS = 50; // in a look
const CLOSED_MIN = 2; // a broker that stops can end one handshake
const GREETING_WAIT_MS = 200;
const STATUS_REFUSED = 400;

// A greeting of ZMTP 3: its signature and major version. A server that has these sends its own without waiting for ours.
// Our mechanism must not follow: libzmq closes the connection as soon as it sees another one than its own.
const GREETING_BEGIN = Buffer.from("ff00000000000000007f03", "hex");
const GREETING_BYTES = 64;

/** A broker and this program do not agree on keys. `code` is a word for programs to test: "key_refused" (no user of the
 * broker's policy has it, or the user may not connect to this endpoint), "wrong_server_key", "keys_required",
 * "keys_not_used" or "not_checked" (the broker cannot check keys now). The program keeps trying, once a second. */
export class AuthenticationError extends Error {
  constructor(code, text) {
    super(text);
    this.code = code;
  }
}

/** Finds out why connections to an endpoint are not established. A look is a connection of its own: the events of a
 * socket's connections can only be read without a timeout, which would keep the process alive.
 *
 * What libzmq shows: the broker's refusal of a key, with its status; another security mechanism at the broker, sometimes;
 * otherwise only that the broker has closed the connection, as one with another key does, too. Then the broker's greeting
 * tells which it is. */
export class Handshake {
  problem = null; // what ended the last handshake

  #Kind;
  #endpoint;
  #keys;
  #socket = null; // of the look that is under way
  #lookAt = 0;
  #refusedAt = -Infinity;
  #isFresh = false;
  #isAccepted = false; // after a problem
  #isClosed = false;

  /** `Kind` is the class of the sockets; `endpoint` begins each text. */
  constructor(Kind, endpoint, keys) {
    this.#Kind = Kind;
    this.#endpoint = endpoint;
    this.#keys = keys;
  }

  /** Options of the sockets. */
  get options() {
    return this.#keys?.options ?? {};
  }

  /** The connection is silent. Looks at the broker in the background, at most once a second. `address` is the endpoint with
   * a numeric address. */
  look(address) {
    if (this.#isClosed || now() < this.#lookAt) return;
    this.#lookAt = Infinity;
    this.#look(address).catch(() => {}).finally(() => { this.#lookAt = now() + RETRY_MS; });
  }

  /** The connection is not silent. */
  onMessage() {
    this.problem = null;
    this.#isFresh = false;
  }

  /** Whether the broker accepts connections again. True once: connect again, because libzmq gives most refused connections
   * up. */
  takeAccepted() {
    const isAccepted = this.#isAccepted;
    this.#isAccepted = false;
    return isAccepted;
  }

  /** The problem, if another handshake has failed since it was taken last, at most once a second; else null. */
  take() {
    if (!this.#isFresh || now() >= this.#refusedAt + FRESH_MS) return null;
    this.#isFresh = false;
    return this.problem;
  }

  /** Ends a look. */
  close() {
    this.#isClosed = true;
    this.#socket?.close();
  }

  async #look(address) {
    const socket = new this.#Kind({
      linger: 0, reconnectInterval: RECONNECT_MS, ipv6: address.includes("["), ...this.options,
    });
    this.#socket = socket;
    const { events } = socket;
    const timer = setTimeout(() => socket.close(), LOOK_MS);
    let code = null;
    try {
      socket.connect(address);
      code = await this.#outcome(events, address);
    } finally {
      clearTimeout(timer);
      this.#socket = null;
      if (!socket.closed) socket.close();
      await drain(events);
    }
    if (code === "accepted") {
      this.#isAccepted ||= this.problem !== null;
      this.onMessage();
    } else if (code) {
      this.problem = new AuthenticationError(code, `${this.#endpoint}: ${this.#text(code)}`);
      this.#refusedAt = now();
      this.#isFresh = true;
    }
  }

  /** A code, "accepted", or null if nothing is known: the broker may be away. */
  async #outcome(events, address) {
    for (let closed = 0; ;) {
      const { type, error } = await events.receive();
      switch (type) {
        case "handshake":
          return "accepted";
        case "handshake:error:auth":
          return error.status === STATUS_REFUSED ? "key_refused" : "not_checked";
        case "handshake:error:protocol":
          if (error.code === "ERR_ZMTP_MECHANISM_MISMATCH") return this.#keys ? "keys_not_used" : "keys_required";
          return error.code === "ERR_ZMTP_CRYPTOGRAPHIC" ? "wrong_server_key" : null;
        case "handshake:error:other":
          if (++closed >= CLOSED_MIN) return this.#explain(await serverMechanism(address));
          break;
        case "close": // not of a connection, but of an attempt to connect
        case "end":
          return null;
        default:
      }
    }
  }

  #explain(mechanism) {
    if (mechanism === "CURVE") return this.#keys ? "wrong_server_key" : "keys_required";
    return mechanism === "NULL" && this.#keys ? "keys_not_used" : null;
  }

  #text(code) {
    if (code === "key_refused" && !this.#keys) return "the broker does not admit clients without keys";
    return {
      keys_required: "the broker requires keys (keyFile, serverKeyFile)",
      keys_not_used: "the broker uses no keys; connect without them",
      wrong_server_key: `the broker's key is not the one in ${this.#keys?.serverKeyFile}`,
      key_refused: `the broker does not admit the key in ${this.#keys?.keyFile}: its policy has no user with it, or the `
        + "user may not connect to this endpoint",
      not_checked: "the broker cannot check keys now",
    }[code];
  }
}

/** The last event, after the socket is closed, closes them. */
async function drain(events) {
  try {
    while (!events.closed) await events.receive();
  } catch {
    // closed
  }
}

/** Resolves to the security mechanism in the greeting of a ZeroMQ server; "": unknown. Waits up to 0.2 s. */
function serverMechanism(endpoint) {
  const [, host, port] = /^tcp:\/\/(.+):(\d+)$/.exec(endpoint) ?? [];
  const path = /^ipc:\/\/(.+)$/.exec(endpoint)?.[1];
  if (!host && !path) return Promise.resolve("");
  return new Promise((resolve) => {
    const peer = connect(path ? { path } : { host: host.replace(/^\[|\]$/g, ""), port: Number(port) });
    let greeting = Buffer.alloc(0);
    const timer = setTimeout(() => peer.destroy(), GREETING_WAIT_MS);
    peer.on("error", () => {}); // "close" follows
    peer.on("data", (bytes) => {
      greeting = Buffer.concat([greeting, bytes]);
      if (greeting.length >= GREETING_BYTES) peer.destroy();
    });
    peer.on("close", () => {
      clearTimeout(timer);
      const isComplete = greeting.length >= GREETING_BYTES && greeting[0] === 0xff && greeting[9] === 0x7f;
      resolve(isComplete ? greeting.toString("latin1", 12, 32).replace(/\0+$/, "") : "");
    });
    peer.write(GREETING_BEGIN);
  });
}

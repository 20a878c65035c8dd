// The addresses that the host of a ZeroMQ endpoint has.

import { lookup } from "node:dns";
import { isIP } from "node:net";

/** The endpoints with numeric addresses that stand for an endpoint with a host name, tried one after another: libzmq knows
 * only one of a name's addresses. `localhost` means 127.0.0.1 and ::1. */
export class Addresses {
  #host = null;
  #port;
  #all;
  #at = 0;
  #found = null;
  #pending = false;

  constructor(endpoint) {
    this.#all = [endpoint];
    const [, host, port] = /^tcp:\/\/(.+):(\d+)$/.exec(endpoint) ?? [];
    if (!host) return;
    this.#port = port;
    if (host.toLowerCase() === "localhost") {
      this.#all = ["127.0.0.1", "[::1]"].map((address) => `tcp://${address}:${port}`);
    } else if (!host.startsWith("[") && !isIP(host)) {
      this.#host = host;
      this.#lookUp();
    }
  }

  /** The endpoint to connect to: the one with the name itself while its addresses are unknown. */
  get current() {
    return this.#all[this.#at];
  }

  /** Moves on to the next address, after the last one to the first. Returns whether it is another one. */
  next() {
    const before = this.current;
    if (this.#found?.length > 0) {
      this.#all = this.#found;
      this.#at = Math.max(0, this.#all.indexOf(before));
    }
    this.#found = null;
    if (this.current === before) {
      this.#at = (this.#at + 1) % this.#all.length;
      if (this.#at === 0 && this.#host) this.#lookUp(); // it may have other addresses now
    }
    return this.current !== before;
  }

  #lookUp() {
    if (this.#pending) return;
    this.#pending = true;
    lookup(this.#host, { all: true }, (error, addresses) => {
      this.#pending = false;
      this.#found = (error ? [] : addresses)
        .sort((a, b) => a.family - b.family)
        .map(({ address, family }) => `tcp://${family === 6 ? `[${address}]` : address}:${this.#port}`);
    });
  }
}

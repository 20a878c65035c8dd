// One ZeroMQ connection, and whether it still stands.

const HEARTBEAT_MS = 5000;
const FAILOVER_MS = 1000;
const END_CHECK_MS = 100; // so often a reader looks whether its connection still stands
const END_EVENTS = ["disconnect", "close", "handshake:error:other", "handshake:error:protocol", "handshake:error:auth"];

export const now = () => performance.now();
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));

/** Which of some brokers is used: the next one where the last has been away for a second. */
export class Brokers {
  index = 0;
  #endpoints;
  #downSince = now();

  /** By what each is for, one endpoint or several; the first ones belong together, the second ones, and so on. Throws a
   * RangeError where they are none, or not as many of each. */
  constructor(endpoints) {
    const lists = Object.entries(endpoints).map(([name, each]) => [name, [each].flat()]);
    const count = lists[0][1].length;
    if (count === 0 || lists.some(([, each]) => each.length !== count)) {
      const numbers = lists.map(([name, each]) => `${each.length} of ${name}`).join(", ");
      throw new RangeError(`as many endpoints of each kind are wanted, at least one, got ${numbers}`);
    }
    this.#endpoints = Array.from({ length: count }, (_, i) => Object.fromEntries(lists.map(([name, each]) => [name, each[i]])));
  }

  get current() {
    return this.#endpoints[this.index];
  }

  /** It has answered. */
  markUp() {
    this.#downSince = null;
  }

  /** Before another connection is made. True where that is to the next broker. */
  moveOn() {
    this.#downSince ??= now();
    if (this.#endpoints.length === 1 || now() - this.#downSince < FAILOVER_MS) return false;
    this.index = (this.index + 1) % this.#endpoints.length;
    this.#downSince = now();
    return true;
  }
}

/** A socket with one connection that libzmq does not renew: when it ends, its owner makes another one. So all that
 * comes out of the socket came over the same connection, in order. Owns its socket. */
export class Connection {
  ended = false;

  /** Begins to connect. Throws where `endpoint` is none. */
  constructor(Kind, endpoint, options = {}) {
    this.socket = new Kind({
      linger: 0, reconnectInterval: -1, ipv6: endpoint.includes("["),
      heartbeatInterval: HEARTBEAT_MS, heartbeatTimeout: 3 * HEARTBEAT_MS, ...options,
    });
    for (const end of END_EVENTS) this.socket.events.on(end, () => { this.ended = true; });
    try {
      this.socket.connect(endpoint);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The next message's frames; null where none has come by `deadline` (of now()), or the connection has ended and
   * all that had come over it was given. */
  async receive(deadline) {
    for (;;) {
      if (this.socket.closed) return null;
      const { ended } = this; // what came before the end is in the queue: it is given before the end is told
      this.socket.receiveTimeout = Math.ceil(Math.max(0, ended ? 0 : Math.min(deadline - now(), END_CHECK_MS)));
      try {
        return await this.socket.receive();
      } catch (error) {
        if (error.code !== "EAGAIN") throw error;
      }
      if (ended || now() >= deadline) return null;
    }
  }

  /** Ends it at once; nothing lingers. */
  close() {
    this.ended = true;
    this.socket.close();
  }
}

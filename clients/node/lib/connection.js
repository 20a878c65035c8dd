// A single ZeroMQ connection, and the choice of a broker.

const HEARTBEAT_MS = 5000;
const FAILOVER_MS = 1000;
const END_CHECK_MS = 100; // how often receive() checks whether the connection has ended
const END_EVENTS = ["disconnect", "close", "handshake:error:other", "handshake:error:protocol", "handshake:error:auth"];

export const now = () => performance.now();
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));

/** Which broker of a list is in use. Moves to the next one when the current one has been down for a second. */
export class Brokers {
  index = 0;
  #endpoints;
  #downSince = now();

  /** Takes one endpoint or several for each purpose: { egress, control }. The first endpoints of all purposes belong to
   * the first broker, and so on. Throws a RangeError if there are none, or if the numbers differ. */
  constructor(endpoints) {
    const lists = Object.entries(endpoints).map(([name, each]) => [name, [each].flat()]);
    const count = lists[0][1].length;
    if (count === 0 || lists.some(([, each]) => each.length !== count)) {
      const numbers = lists.map(([name, each]) => `${each.length} for ${name}`).join(", ");
      throw new RangeError(`expected the same number of endpoints for each purpose, at least one, got ${numbers}`);
    }
    this.#endpoints = Array.from({ length: count },
      (_, i) => Object.fromEntries(lists.map(([name, each]) => [name, each[i]])));
  }

  get current() {
    return this.#endpoints[this.index];
  }

  /** Notes that the current broker has responded. */
  markUp() {
    this.#downSince = null;
  }

  /** To be called before a new connection. Returns true if that should go to the next broker. */
  moveOn() {
    this.#downSince ??= now();
    if (this.#endpoints.length === 1 || now() - this.#downSince < FAILOVER_MS) return false;
    this.index = (this.index + 1) % this.#endpoints.length;
    this.#downSince = now();
    return true;
  }
}

/** A socket with one connection that libzmq does not renew: when it ends, the owner creates another Connection.
 * Everything received from the socket therefore came over the same connection, in order. Owns its socket. */
export class Connection {
  ended = false;

  /** Starts connecting. Throws if `endpoint` is invalid. */
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

  /** The frames of the next message. null if none has arrived by `deadline` (of now()), or if the connection has ended
   * and everything received over it has been returned. */
  async receive(deadline) {
    for (;;) {
      if (this.socket.closed) return null;
      const { ended } = this; // messages received before the end are in the queue: they are returned first
      this.socket.receiveTimeout = Math.ceil(Math.max(0, ended ? 0 : Math.min(deadline - now(), END_CHECK_MS)));
      try {
        return await this.socket.receive();
      } catch (error) {
        if (error.code !== "EAGAIN") throw error;
      }
      if (ended || now() >= deadline) return null;
    }
  }

  /** Closes the connection at once and discards unsent messages. */
  close() {
    this.ended = true;
    this.socket.close();
  }
}

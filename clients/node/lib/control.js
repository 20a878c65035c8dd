// Questions to a broker: last values, history, how far a publisher has come.

import { Dealer } from "zeromq";
import { now } from "./connection.js";
import { decode, encode, fileDescriptorSet } from "./proto.js";
import { checkTopic, Pattern } from "./topic.js";
import { Event, readStamp } from "./wire.js";

export const DEFAULT_CONTROL = "tcp://127.0.0.1:5572";

/** What was wanted did not come within the call's time limit. */
export class TimeoutError extends Error {}

/** The broker refused a request: `code` is a word that a program can test, see control.proto. */
export class ControlError extends Error {
  constructor({ code, text }) {
    super(`${code}: ${text}`);
    this.code = code;
  }
}

/** Some of what was asked for is no longer held. From `firstAvailable`, a position, on everything is; where one topic
 * was asked for, that is its offset `firstAvailableOffset`. */
export class HistoryGone extends Error {
  constructor(pattern, gone) {
    super(`history of ${pattern} begins at position ${gone.first_available}`);
    this.firstAvailable = gone.first_available;
    this.firstAvailableOffset = gone.first_available_offset;
  }
}

/** Asks a broker's control endpoint, one question at a time; more wait for their turn. Owns its socket. Every method
 * rejects with TimeoutError where an answer is not there within `timeout` ms, and with ControlError where the broker
 * refuses. */
export class Control {
  #endpoint;
  #socket;
  #turn = Promise.resolve();
  #lastId = 0n;

  /** Connects in the background. Throws where `endpoint` is none. */
  constructor(endpoint = DEFAULT_CONTROL) {
    this.#endpoint = endpoint;
    this.#connect();
  }

  /** The last event of every topic that matches, in order of topic names. */
  async last(pattern, { timeout = 10_000 } = {}) {
    new Pattern(pattern);
    const events = [];
    for await (const reply of this.#pages("retained", { pattern }, timeout)) {
      events.push(...eventsOf(reply.retained));
    }
    return events;
  }

  /** History in order of positions, fetched slice by slice as it is read, `timeout` from slice to slice. It begins
   * after a position (`after: { stream, position }`), or `afterOffset` where `pattern` is one topic, or at `sinceNs`,
   * Unix time in nanoseconds; it ends at the position `until`, or with what there is. Throws HistoryGone where some of
   * it is no longer held. */
  async *replay(pattern, { after, afterOffset, sinceNs = 0n, until = 0n, timeout = 10_000 } = {}) {
    new Pattern(pattern);
    const start = after ? { after_position: after }
      : afterOffset !== undefined ? { after_offset: afterOffset } : { since_ns: sinceNs };
    for await (const reply of this.#pages("replay", { pattern, until_position: until, ...start }, timeout)) {
      if (reply.end === "gone") throw new HistoryGone(pattern, reply.gone);
      yield* eventsOf(reply.replay);
    }
  }

  /** {stream, position, tails}: the last position and offset of each matching topic that changed after `after`. They
   * are complete up to that position. */
  async tails(patterns, after = 0n, { timeout = 10_000 } = {}) {
    const replies = [];
    for await (const reply of this.#pages("tails", { patterns, after_position: after }, timeout)) replies.push(reply);
    const [{ stream, position }] = replies;
    return { stream, position, tails: replies.flatMap((reply) => reply.tails.tails) };
  }

  /** Tells the broker what types look like, by their full names, so that every reader of the gateway can have them as
   * JSON: loadTypes() has read them before. A broker that has come back without its history has forgotten them too. */
  async register(typeNames, { timeout = 10_000 } = {}) {
    await this.ask({ types: { register_files: fileDescriptorSet(typeNames) } }, { timeout });
  }

  /** One request, `{ [its name]: its fields }`, and its one reply: ask({ admitted: { source, session } }). */
  ask(request, { timeout = 10_000 } = {}) {
    const reply = this.#turn.then(() => this.#exchange(request, timeout));
    this.#turn = reply.catch(() => {});
    return reply;
  }

  /** Asks that one from now on. What is being asked is rejected with TimeoutError. */
  use(endpoint) {
    this.#socket.close();
    this.#endpoint = endpoint;
    this.#connect();
  }

  /** Ends it at once. What is being asked is rejected with TimeoutError. */
  close() {
    this.#socket.close();
  }

  #connect() {
    this.#socket = new Dealer({ linger: 0, sendTimeout: 0, ipv6: this.#endpoint.includes("[") });
    this.#socket.connect(this.#endpoint);
  }

  async #exchange(request, timeout) {
    const socket = this.#socket;
    const deadline = now() + timeout;
    const id = ++this.#lastId;
    if (!socket.closed) await socket.send(encode("backplane.v1.ControlRequest", { version: 1, id, ...request }));
    while (!socket.closed && now() < deadline) {
      socket.receiveTimeout = Math.ceil(deadline - now());
      let reply;
      try {
        reply = decode("backplane.v1.ControlReply", (await socket.receive()).at(-1));
      } catch {
        continue; // the time is over, or whoever answered is no broker
      }
      if (reply.id !== id) continue;
      if (reply.end === "error") throw new ControlError(reply.error);
      return reply;
    }
    if (!socket.closed) {
      // With a new socket, what is still queued for a broker that is not there is forgotten.
      socket.close();
      this.#connect();
    }
    throw new TimeoutError(`no answer from ${this.#endpoint} within ${timeout} ms`);
  }

  /** The replies to a request that is asked again with the cursor of each until nothing follows. */
  async *#pages(name, request, timeout) {
    for (let cursor = Buffer.alloc(0); ;) {
      const reply = await this.ask({ [name]: { ...request, cursor } }, { timeout });
      yield reply;
      if (reply.end !== "more" || cursor.equals(reply.more.cursor)) return;
      cursor = Buffer.from(reply.more.cursor);
    }
  }
}

function eventsOf(reply) {
  return (reply?.events ?? []).flatMap(({ topic, event }) => {
    const bytes = Buffer.from(event.buffer, event.byteOffset, event.length);
    const stamp = readStamp(bytes);
    return stamp ? [new Event(checkTopic(topic), bytes, stamp)] : [];
  });
}

// Requests to a broker: last values, history, and what it has admitted from a publisher.

import { ControlChannel } from "./channel.js";
import { readKeys } from "./credentials.js";
import { fileDescriptorSet } from "./proto.js";
import { checkTopic, Pattern } from "./topic.js";
import { learn, namesToFetch } from "./type_fetcher.js";
import { Event, readStamp } from "./wire.js";

export const DEFAULT_CONTROL = "tcp://127.0.0.1:5572";

/** The call did not complete within its timeout. */
export class TimeoutError extends Error {}

/** The broker refused a request. `code` is a word for programs to test, see control.proto. */
export class ControlError extends Error {
  constructor({ code, text }) {
    super(`${code}: ${text}`);
    this.code = code;
  }
}

/** Some of the requested history is no longer available. History begins at the position `firstAvailable`, which for a
 * single topic is its offset `firstAvailableOffset`. */
export class HistoryGone extends Error {
  constructor(pattern, gone) {
    super(`history of ${pattern} begins at position ${gone.first_available}`);
    this.firstAvailable = gone.first_available;
    this.firstAvailableOffset = gone.first_available_offset;
  }
}

/** Sends requests to a broker's control endpoint, one at a time; further requests wait for their turn. Owns its socket.
 * Every method rejects with TimeoutError if a reply does not arrive within `timeout` ms, with ControlError if the broker
 * refuses the request, and with AuthenticationError if it does not accept the keys, or requires some. */
export class Control {
  #channel;
  #turn = Promise.resolve();

  /** Connects in the background, with keys if there are any: see Subscriber. Throws if `endpoint` is invalid, a RangeError
   * if the keys cannot be used. */
  constructor(endpoint = DEFAULT_CONTROL, { keyFile, serverKeyFile } = {}) {
    this.#channel = new ControlChannel(endpoint, 0, readKeys(keyFile, serverKeyFile));
  }

  /** The last event of each matching topic, ordered by topic name. */
  async last(pattern, { timeout = 10_000 } = {}) {
    new Pattern(pattern);
    const events = [];
    for await (const reply of this.#pages("retained", { pattern }, timeout)) {
      events.push(...await this.#events(reply.retained, timeout));
    }
    return events;
  }

  /** History in order of positions, fetched in slices as it is read; `timeout` applies to each slice. It begins after a
   * position (`after: { stream, position }`), or after `afterOffset` if `pattern` is a single topic, or at `sinceNs`
   * (Unix time in nanoseconds), or `sinceAgo` ms ago by the broker's clock. It ends at the position `until`, or at the
   * newest event. Throws HistoryGone if some of it is no longer available. */
  async *replay(pattern, { after, afterOffset, sinceNs = 0n, sinceAgo, until = 0n, timeout = 10_000 } = {}) {
    new Pattern(pattern);
    const start = after ? { after_position: after }
      : afterOffset !== undefined ? { after_offset: afterOffset }
        : sinceAgo !== undefined ? { since_ago_ns: BigInt(Math.round(sinceAgo * 1e6)) } : { since_ns: sinceNs };
    for await (const reply of this.#pages("replay", { pattern, until_position: until, ...start }, timeout)) {
      if (reply.end === "gone") throw new HistoryGone(pattern, reply.gone);
      yield* await this.#events(reply.replay, timeout);
    }
  }

  /** { stream, position, tails }: the last position and offset of each matching topic that changed after `after`. The
   * tails are complete up to `position`. */
  async tails(patterns, after = 0n, { timeout = 10_000 } = {}) {
    const replies = [];
    for await (const reply of this.#pages("tails", { patterns, after_position: after }, timeout)) replies.push(reply);
    const [{ stream, position }] = replies;
    return { stream, position, tails: replies.flatMap((reply) => reply.tails.tails) };
  }

  /** Registers the definitions of types, by full name, with the broker, so that readers of the gateway get them as
   * JSON. Call loadTypes() first. A broker that comes back without its history has lost the registrations as well; a
   * Publisher registers the types that it publishes again by itself. */
  async register(typeNames, { timeout = 10_000 } = {}) {
    await this.ask({ types: { register_files: fileDescriptorSet(typeNames) } }, { timeout });
  }

  /** Sends one request, `{ [name]: fields }`, and returns its reply: ask({ admitted: { source, session } }). */
  async ask(request, { timeout = 10_000 } = {}) {
    return (await this.#exchangeInTurn(request, timeout)).reply;
  }

  #exchangeInTurn(request, timeout) {
    const done = this.#turn.then(() => this.#exchange(request, timeout));
    this.#turn = done.catch(() => {});
    return done;
  }

  /** Closes the socket at once. The pending request is rejected with TimeoutError. */
  close() {
    this.#channel.close();
  }

  async #exchange(request, timeout) {
    let reply;
    let bytes;
    if (!this.#channel.closed) this.#channel.request(request, timeout, (...arrived) => { [reply, bytes] = arrived; });
    while (reply === undefined && !this.#channel.closed) {
      await this.#channel.wait();
      await this.#channel.poll();
      const problem = reply === undefined ? this.#channel.handshake.take() : null;
      if (problem) throw problem;
    }
    if (!reply) throw new TimeoutError(`no reply from ${this.#channel.endpoint} within ${timeout} ms`);
    if (reply.end === "error") throw new ControlError(reply.error);
    return { reply, bytes };
  }

  /** With the definitions of their types, unless the broker does not send them. */
  async #events(reply, timeout) {
    const events = eventsOf(reply);
    const names = namesToFetch(events);
    if (names.length === 0) return events;
    try {
      const replies = [];
      for await (const { bytes } of this.#exchanges("types", { names }, timeout)) replies.push(bytes);
      learn(replies);
    } catch (error) {
      if (!(error instanceof TimeoutError || error instanceof ControlError)) throw error;
    }
    return events;
  }

  /** The replies to a request, which is repeated with the cursor of the last reply until there is no more. */
  async *#pages(name, request, timeout) {
    for await (const { reply } of this.#exchanges(name, request, timeout)) yield reply;
  }

  /** The same with their bytes. */
  async *#exchanges(name, request, timeout) {
    for (let cursor = Buffer.alloc(0); ;) {
      const exchange = await this.#exchangeInTurn({ [name]: { ...request, cursor } }, timeout);
      const { reply } = exchange;
      yield exchange;
      if (reply.end !== "more" || cursor.equals(reply.more.cursor)) return;
      cursor = Buffer.from(reply.more.cursor);
    }
  }
}

function eventsOf(reply) {
  return (reply?.events ?? []).flatMap(({ topic, event }) => {
    const bytes = Buffer.from(event.buffer, event.byteOffset, event.length);
    const stamp = readStamp(bytes);
    return stamp ? [new Event(checkTopic(topic), bytes, stamp, { fromHistory: true })] : [];
  });
}

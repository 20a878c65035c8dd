// Following a broker: events by pattern, and a Gap for every event that is lost.

import { randomBytes } from "node:crypto";
import { Subscriber as Sub } from "zeromq";
import { Brokers, Connection, now, sleep } from "./connection.js";
import { Control, ControlError, DEFAULT_CONTROL, HistoryGone, TimeoutError } from "./control.js";
import { Pattern } from "./topic.js";
import { Event, Gap, readStamp, Reset } from "./wire.js";

export const DEFAULT_EGRESS = "tcp://127.0.0.1:5571";

const LIVE_TIMEOUT_MS = 10_000; // a connection without a live reply by then is closed
const BACKOFF_MS = [50, 1000]; // between two connections: at first, and at most
const RECOVERY_TIMEOUT_MS = 1000; // how long recovering missing events may delay later ones
const TAILS_INTERVAL_MS = 1000; // how often to check for losses that no later event reveals
const GRACE_MS = 100; // how long an event that a tail shows may still be in flight
const RECEIVE_HWM = 100_000;
const ZMQ_SNDHWM = 23;

const originOf = (stream) => stream >> 32n;

/** Subscriptions are messages too: at the default high-water mark, many at once would be lost. */
class UnboundedSub extends Sub {
  constructor(options) {
    super(options);
    this.setInt32Option(ZMQ_SNDHWM, 0);
  }
}

/** Reads the topics that match some patterns. Owns its sockets. Only one call of receive() or waitLive() at a time.
 *
 * The events of each topic arrive in order and once. A missing event is recovered from the broker's history. If it is no
 * longer there, a Gap takes its place. When the broker comes back without its history, a Reset is returned. After a lost
 * connection the subscriber reconnects and recovers what was published meanwhile. With several brokers it moves to the
 * next one when one has been down for a second, which is a Reset too.
 *
 *   for await (const item of new Subscriber(["stock.>", "clock"])) …
 */
export class Subscriber {
  duplicates = 0; // events that arrived again and were skipped
  recovered = 0; // events recovered from history
  undecodable = 0; // messages that are not events
  closed = false;

  #patterns;
  #brokers;
  #control;
  #ready = []; // items for receive(); those before #returned have been returned
  #returned = 0;

  #connection = null;
  #connectAt = 0;
  #backoff = BACKOFF_MS[0];
  #liveTopic;
  #liveDeadline;
  #live = false;

  #stream = null; // the broker's stream
  #startPosition = new Map(); // by stream: reading began after this position
  #lastSeenByTopic = new Map(); // by stream, then by topic: { offset, position }
  #tailsAt = 0;
  #tailsAfter = 0n;
  #suspectedGaps = [];
  #repairAt = 0;

  /** Connects in the background. For several brokers, `egress` and `control` contain one endpoint each per broker.
   * Throws a RangeError for an invalid pattern, an Error for an invalid endpoint. */
  constructor(patterns, { egress = DEFAULT_EGRESS, control = DEFAULT_CONTROL } = {}) {
    if (patterns.length === 0) throw new RangeError("expected at least one pattern, got none");
    this.#patterns = patterns.map((pattern) => new Pattern(pattern));
    this.#brokers = new Brokers({ egress, control });
    this.#control = new Control(this.#brokers.current.control);
    try {
      this.#connect();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Whether the subscriptions are active on the current connection, confirmed by the broker's live reply. */
  get live() {
    return this.#live;
  }

  /** Waits until the subscriptions are active: everything published from now on is delivered or reported as a Gap.
   * Rejects with TimeoutError. */
  async waitLive({ timeout = 10_000 } = {}) {
    for (const deadline = now() + timeout; !this.#live;) {
      if (this.closed || now() >= deadline) {
        throw new TimeoutError(`no live reply from ${this.#brokers.current.egress} within ${timeout} ms`);
      }
      await this.#work(deadline);
    }
  }

  /** The next Event, Gap or Reset; null if there is none within `timeout`, or after close(). May take up to two seconds
   * longer while missing events are recovered. */
  async receive({ timeout = 10_000 } = {}) {
    for (const deadline = now() + timeout; this.#returned === this.#ready.length && !this.closed;) {
      await this.#work(deadline);
      if (now() >= deadline) break;
    }
    const item = this.#ready[this.#returned++] ?? null;
    if (this.#returned >= this.#ready.length) {
      this.#ready = [];
      this.#returned = 0;
    }
    return item;
  }

  /** All items, until close(). */
  async *[Symbol.asyncIterator]() {
    while (!this.closed) {
      const item = await this.receive({ timeout: 60_000 });
      if (item) yield item;
    }
  }

  /** Closes the subscriber at once. */
  close() {
    this.closed = true;
    this.#live = false;
    this.#connection?.close();
    this.#control.close();
  }

  // The connection.

  #connect() {
    if (this.#brokers.moveOn()) this.#control.use(this.#brokers.current.control);
    const options = { receiveHighWaterMark: RECEIVE_HWM };
    this.#connection = new Connection(UnboundedSub, this.#brokers.current.egress, options);
    // The socket is already connecting, so subscriptions are sent in this order. The reply to the last one shows that
    // all are active. Its nonce has not been used before.
    this.#liveTopic = `$SYS.live.${randomBytes(8).toString("hex")}`;
    for (const { prefix } of this.#patterns) this.#connection.socket.subscribe(prefix);
    this.#connection.socket.subscribe(this.#liveTopic);
    this.#liveDeadline = now() + LIVE_TIMEOUT_MS;
  }

  #disconnect() {
    this.#connection.close();
    this.#connection = null;
    this.#live = false;
    this.#connectAt = now() + this.#backoff;
    this.#backoff = Math.min(2 * this.#backoff, BACKOFF_MS[1]);
  }

  /** Handles one message, or waits for one until `deadline` or until another action is due. */
  async #work(deadline) {
    if (!this.#connection) {
      await sleep(Math.min(this.#connectAt, deadline) - now());
      if (!this.closed && now() >= this.#connectAt) this.#connect();
      return;
    }
    const due = !this.#live ? this.#liveDeadline : this.#suspectedGaps.length > 0 ? this.#repairAt : this.#tailsAt;
    const frames = await this.#connection.receive(Math.min(deadline, due));
    if (frames) {
      await this.#onMessage(frames);
    } else if (this.closed) {
      return;
    } else if (this.#connection.ended || (!this.#live && now() >= this.#liveDeadline)) {
      this.#disconnect();
    } else if (this.#live && now() >= due) {
      await (this.#suspectedGaps.length > 0 ? this.#repairSuspectedGaps() : this.#checkTails());
    }
  }

  // Received messages.

  async #onMessage(frames) {
    const stamp = readStamp(frames.at(-1));
    if (frames.length !== 2 || !stamp) {
      this.undecodable += 1;
      return;
    }
    const topic = frames[0].toString();
    if (topic === this.#liveTopic) {
      this.#onLive(stamp);
    } else if (this.#patterns.some((pattern) => pattern.matches(topic))) {
      // ZeroMQ matches byte prefixes: "time" also gets "timezone".
      await this.#onEvent(topic, frames[1], stamp);
    }
  }

  #onLive({ stream, position }) {
    this.#connection.socket.unsubscribe(this.#liveTopic);
    if (this.#stream === null) {
      this.#stream = stream;
      this.#startPosition.set(stream, position);
      this.#tailsAfter = position;
    } else if (this.#stream !== stream) {
      // A new incarnation of the same broker is read from its beginning, including what was published before the
      // subscriptions were active again. Another broker is read from now on.
      this.#reset(stream, originOf(this.#stream) === originOf(stream) ? 0n : position);
    }
    this.#brokers.markUp();
    this.#live = true;
    this.#backoff = BACKOFF_MS[0];
    this.#tailsAt = now(); // events may have been published while disconnected
  }

  #reset(stream, position) {
    this.#ready.push(new Reset(this.#stream, stream));
    this.#lastSeenByTopic.delete(this.#stream);
    this.#stream = stream;
    this.#startPosition.set(stream, position);
    this.#tailsAfter = position;
    this.#suspectedGaps = [];
  }

  async #onEvent(topic, bytes, stamp) {
    const { stream, offset, position, previous } = stamp;
    if (this.#stream !== null && this.#stream !== stream && originOf(this.#stream) === originOf(stream)) {
      this.#reset(stream, 0n); // a new incarnation of the same broker
    }
    if (offset > 0n) { // some system events are not numbered
      if (offset <= (this.#lastSeen(stream, topic)?.offset ?? 0n)) {
        this.duplicates += 1;
        return;
      }
      await this.#repairGap(topic, stream, offset - 1n, previous);
      this.#setLastSeen(stream, topic, offset, position);
    }
    try {
      this.#ready.push(new Event(topic, bytes, stamp));
    } catch {
      this.#ready.push(new Gap(stream, topic, offset, offset, "undecodable"));
    }
  }

  #lastSeen(stream, topic) {
    return this.#lastSeenByTopic.get(stream)?.get(topic);
  }

  #setLastSeen(stream, topic, offset, position) {
    if (!this.#lastSeenByTopic.has(stream)) this.#lastSeenByTopic.set(stream, new Map());
    this.#lastSeenByTopic.get(stream).set(topic, { offset, position });
  }

  // Missing events.

  /** Delivers the missing events of the topic up to the offset `last`, which is at the position `until`. */
  async #repairGap(topic, stream, last, until) {
    const seen = this.#lastSeen(stream, topic);
    // The topic's first event comes without a hole unless there was another since the reading began.
    const after = seen ? seen.position : this.#startPosition.get(stream);
    const first = seen ? seen.offset + 1n : after === 0n ? 1n : 0n;
    if (seen ? last < first : after === undefined || until <= after) return;
    const { events, lostSome, reason } = await this.#fetch(topic, stream, after, until);
    let expected = first; // 0n: not known
    for (const event of events) {
      const { offset } = event.stamp;
      if (offset > expected && (expected > 0n || lostSome)) {
        this.#ready.push(new Gap(stream, topic, expected, offset - 1n, reason));
      }
      this.#ready.push(event);
      this.recovered += 1;
      expected = offset + 1n;
    }
    if (expected <= last) this.#ready.push(new Gap(stream, topic, expected, last, reason));
  }

  /** The events of the topic in (after, until] from history, whether some are lost, and the reason. */
  async #fetch(topic, stream, after, until) {
    const events = [];
    for (let lostSome = false; ;) {
      try {
        const slice = { after: { stream, position: after }, until, timeout: RECOVERY_TIMEOUT_MS };
        for await (const event of this.#control.replay(topic, slice)) {
          events.push(event);
          after = event.stamp.position;
        }
        return { events, lostSome, reason: "history_gone" };
      } catch (error) {
        if (error instanceof TimeoutError) return { events, lostSome: true, reason: "recovery_timeout" };
        const next = error instanceof HistoryGone ? error.firstAvailable - 1n : 0n;
        if (!(after < next && next < until)) return { events, lostSome: true, reason: "history_gone" };
        lostSome = true;
        after = next;
      }
    }
  }

  /** Checks for losses that no later event reveals: at the end of a topic. */
  async #checkTails() {
    this.#tailsAt = now() + TAILS_INTERVAL_MS;
    try {
      const patterns = this.#patterns.map(({ text }) => text);
      const { stream, position, tails } = await this.#control.tails(patterns, this.#tailsAfter,
        { timeout: RECOVERY_TIMEOUT_MS });
      if (stream !== this.#stream) return;
      this.#tailsAfter = position;
      this.#suspectedGaps = tails.filter((tail) => this.#isMissing(tail));
      this.#repairAt = now() + GRACE_MS;
    } catch (error) {
      if (!(error instanceof TimeoutError || error instanceof ControlError)) throw error;
    }
  }

  #isMissing(tail) {
    const seen = this.#lastSeen(this.#stream, tail.topic);
    return seen ? seen.offset < tail.offset : tail.position > this.#startPosition.get(this.#stream);
  }

  async #repairSuspectedGaps() {
    const suspects = this.#suspectedGaps;
    this.#suspectedGaps = [];
    for (const tail of suspects.filter((suspect) => this.#isMissing(suspect))) {
      await this.#repairGap(tail.topic, this.#stream, tail.offset, tail.position);
      this.#setLastSeen(this.#stream, tail.topic, tail.offset, tail.position);
    }
  }
}

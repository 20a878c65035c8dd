// Reading events by pattern, with a Gap for every event that is lost.

import os from "node:os";
import path from "node:path";
import { BrokerReader } from "./broker_reader.js";
import { brokerList, namesOf } from "./brokers.js";
import { ControlError, DEFAULT_CONTROL, TimeoutError } from "./control.js";
import { readKeys } from "./credentials.js";
import { parseInterval, parseSince, resumeToken } from "./progress.js";
import { StreamReader } from "./stream_reader.js";
import { Throttle } from "./throttle.js";
import { now, sleep, turn } from "./time.js";
import { Pattern } from "./topic.js";
import { TypeFetcher } from "./type_fetcher.js";
import { Event, Gap, Reset } from "./wire.js";

export const DEFAULT_EGRESS = "tcp://127.0.0.1:5571";

const OTHERS_MS = 300; // how long the other brokers of the list may take for their live reply, after the first one's
const LAST_WAIT_MS = 1000; // how long the last values of one broker wait for those of the others
const NAME_BYTES_MAX = 243;
const TURN_MS = 20; // how long the event loop may be kept from its other work

/** Everything of the stream up to this position is before this in the queue. null: nothing of the stream is to be
 * remembered any more. */
class Mark {
  constructor(stream, position) {
    Object.assign(this, { stream, position });
  }
}

/** Which broker and backplane, without the incarnation. */
const originOf = (stream) => stream >> 32n;

function checkedName(name) {
  if (name === undefined || name === null) {
    const { name: program } = path.parse(process.argv[1] ?? "");
    const bytes = Buffer.from(`${program || "node"}@${os.hostname()}`).subarray(0, NAME_BYTES_MAX);
    return bytes.toString().replace(/\uFFFD$/, "");
  }
  const size = Buffer.byteLength(name);
  if (size > NAME_BYTES_MAX) throw new RangeError(`name: expected at most ${NAME_BYTES_MAX} bytes, got ${size}`);
  return name.toWellFormed?.() ?? name;
}

const nanoseconds = (ms) => BigInt(Math.ceil(ms * 1e6));

/** Reads the topics that match some patterns. Owns its sockets. Only one call of receive() or waitLive() at a time.
 *
 * The events of each topic arrive in order and once. A missing event is recovered from the broker's history. If it is no
 * longer there, a Gap takes its place. Meanwhile the other topics go on. When a broker comes back without its history, a
 * Reset is returned before its new events. After a lost connection the subscriber reconnects and recovers what was
 * published meanwhile. It reads every broker of the list at once, each with numbers of its own: wherever a publisher
 * moves, its events arrive.
 *
 * It works only while a call is pending, and does not keep the process alive otherwise.
 *
 *   for await (const item of new Subscriber(["stock.>", "clock"])) …
 */
export class Subscriber {
  closed = false;

  #patterns;
  #since = null;
  #token = new Map(); // of `since`: by stream, the position
  #brokers;
  #counters = { given: 0, duplicates: 0, recovered: 0, undecodable: 0, lost: 0, gaps: 0, resets: 0 };
  #ready = []; // items and marks for receive(); those before #returned have been returned
  #returned = 0;
  #throttle = null;
  #positions = new Map(); // by stream: everything up to here has been returned
  #streams = new Map(); // StreamReader by stream
  #createdAt = now();
  #firstLiveAt = null;
  #beganAt = null; // when every broker that is there was live
  #readers = [];
  #turnAt = 0;
  #lastProblem = "";
  #forbidden = new Set(); // patterns
  #errors = []; // to be thrown
  #hasKeys;
  #last;
  #lastUntil = null; // until then, last values wait for those of other brokers; 0: later ones wait for nobody
  #lastReceived = new Map(); // by topic, when the last value was received
  #types = new TypeFetcher(() => this.#readers.find(({ live }) => live)?.channel);
  #held = false; // the first item waits for the definition of its type
  #name;

  /** Connects in the background. For several brokers, `egress` and `control` contain one endpoint each per broker.
   *
   * `last` puts the last value of each topic before the new events. `since` puts history there: a resume token continues
   * where an earlier subscriber stopped; a duration ("10m") is counted back from now by the broker's clock; a Date is a time
   * by that clock; an offset (BigInt or number) continues after this event of one
   * topic. `every` (milliseconds, or "5s") limits each topic to one event per interval: the first one at once, then the
   * latest.
   *
   * `name` is what `backplane top` shows, with the number of events returned, while the subscriber is used; by default, the
   * names of the program and the host. "": it is not shown.
   *
   * For brokers that require keys, `keyFile` names the file with this program's secret key, and `serverKeyFile` the one
   * with the brokers' public key; if missing, BACKPLANE_KEY_FILE and BACKPLANE_SERVER_KEY_FILE name them.
   *
   * Throws a RangeError for an invalid pattern, `since`, `every` or `name`, for both of `last` and `since`, or keys that cannot
   * be used; an Error for an invalid endpoint. */
  constructor(patterns, {
    egress = DEFAULT_EGRESS, control = DEFAULT_CONTROL, last = false, since, every, name, keyFile, serverKeyFile,
  } = {}) {
    if (patterns.length === 0) throw new RangeError("expected at least one pattern, got none");
    this.#patterns = patterns.map((pattern) => new Pattern(pattern));
    this.#since = since === undefined || since === null ? null : parseSince(since);
    if (last && this.#since) throw new RangeError("expected at most one of last and since, got both");
    this.#last = last;
    this.#name = checkedName(name);
    this.#brokers = brokerList({ egress, control });
    if (this.#since?.offset !== undefined
        && (patterns.length > 1 || !this.#patterns[0].isExact || this.#brokers.length > 1)) {
      throw new RangeError("since: expected one topic and one broker with an offset, "
        + `got ${patterns.length} patterns (${patterns[0]}) and ${this.#brokers.length} brokers`);
    }
    if (every !== undefined && every !== null) {
      this.#throttle = new Throttle(parseInterval(every), (event) => this.#ready.push(event));
    }
    this.#token = this.#since?.positions ?? this.#token;
    this.#positions = new Map(this.#token);
    const keys = readKeys(keyFile, serverKeyFile);
    this.#hasKeys = keys !== null;
    const handlers = {
      attach: (reader, live) => this.#attach(reader, live), counters: this.#counters,
      keys, name: this.#name,
      replaced: (reader, old, replacement) => this.#onReplaced(reader, old, replacement),
    };
    try {
      for (const broker of this.#brokers) this.#readers.push(new BrokerReader(broker, this.#patterns, handlers));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Whether the subscriptions are active at one broker at least: its live reply has come within the last seconds. */
  get live() {
    return this.#readers.some(({ live }) => live);
  }

  /** Events that arrived again and were skipped. */
  get duplicates() {
    return this.#counters.duplicates;
  }

  /** Missing events that were recovered from history. */
  get recovered() {
    return this.#counters.recovered;
  }

  /** Messages that are not events. */
  get undecodable() {
    return this.#counters.undecodable;
  }

  /** Events reported in a Gap, as far as their number is known. */
  get lost() {
    return this.#counters.lost;
  }

  /** The name that `backplane top` shows; "" if it shows none. */
  get name() {
    return this.#name;
  }

  /** What went wrong last without stopping the subscriber, for example because one of several brokers does not accept our
   * keys; "" if nothing. */
  get lastProblem() {
    return this.#lastProblem;
  }

  /** Waits until the subscriptions are active: everything published from now on is delivered or reported as a Gap, at
   * whichever broker of the list. Rejects with TimeoutError if none of them replies, with AuthenticationError if none of
   * them accepts our keys. */
  async waitLive({ timeout = 10_000 } = {}) {
    for (const deadline = now() + timeout; !(this.live && this.#beganAt !== null);) {
      if (this.closed || now() >= deadline) {
        const problem = this.#readers.map((reader) => reader.problem).find(Boolean);
        throw new TimeoutError(`no live reply from ${namesOf(this.#brokers, "egress")} within ${timeout} ms`
          + (problem ? `: ${problem.message}` : ""));
      }
      await this.#work(deadline);
      this.#throwProblem();
    }
  }

  /** The next Event, Gap or Reset; null if there is none within `timeout` (0: does not wait), or after close(). If no broker
   * of the list accepts our keys (any more), rejects with AuthenticationError, once a second at most; if a broker does not permit us to
   * read a pattern, rejects with ControlError with the code "not_permitted", once. The subscriber goes on. */
  async receive({ timeout = 10_000 } = {}) {
    const deadline = now() + timeout;
    for (let last = false; ;) {
      const item = this.#next();
      if (item || last || this.closed) return item;
      this.#throwProblem();
      last = now() >= deadline; // with a timeout of 0, too, what has arrived is handled
      await this.#work(deadline);
    }
  }

  /** All items, until close(). Leaving the loop does not close the subscriber, but nothing keeps the process alive then. */
  async *[Symbol.asyncIterator]() {
    while (!this.closed) {
      const item = await this.receive({ timeout: 60_000 });
      if (item) yield item;
    }
  }

  /** Where another Subscriber continues with `since`. Everything before it has been returned by receive(); what was
   * returned in the last second or two may be behind it and comes again. "" if nothing is known yet. */
  resumeToken() {
    return resumeToken(this.#positions);
  }

  /** Closes the subscriber at once. */
  close() {
    this.closed = true;
    for (const reader of this.#readers) reader.close();
  }

  #throwProblem() {
    const problem = this.#readers.map((reader) => reader.takeProblem()).find(Boolean);
    if (problem) this.#lastProblem = problem.message;
    if (problem && this.#readers.every((reader) => reader.problem)) throw problem;
    if (this.#errors.length > 0) throw this.#errors.shift();
  }

  /** `error` is what a broker replied; null: it permits us to read the pattern. */
  #onPermission(pattern, error) {
    if (!error) {
      this.#forbidden.delete(pattern);
    } else if (!this.#forbidden.has(pattern)) {
      this.#forbidden.add(pattern);
      this.#errors.push(new ControlError(error));
      this.#lastProblem = this.#errors.at(-1).message;
    }
  }

  // The brokers.

  /** Handles what has arrived, or waits for something until `deadline` or until another action is due. */
  async #work(deadline) {
    if (now() >= this.#turnAt) {
      await turn(); // timers and signals have their turn, too
      this.#turnAt = now() + TURN_MS;
    }
    let busy = false;
    for (const reader of this.#readers) busy = await reader.work() || busy;
    const time = now();
    this.#updateBegan(time);
    this.#releaseLastValues(time);
    this.#throttle?.tick(time);
    if ((this.#returned < this.#ready.length && !this.#held) || busy || this.closed) return;
    let due = Math.min(deadline, this.#types.due(), this.#lastUntil || Infinity, this.#throttle?.due() ?? Infinity,
      ...this.#readers.map((reader) => reader.due()));
    if (this.#firstLiveAt !== null && this.#beganAt === null) due = Math.min(due, this.#firstLiveAt + OTHERS_MS);
    if (due <= time) return;
    const timer = sleep(due - time);
    await Promise.race([timer.done, ...this.#readers.map((reader) => reader.wait())]);
    timer.cancel();
    this.#turnAt = now() + TURN_MS;
  }

  #updateBegan(time) {
    if (this.#beganAt !== null) return;
    if (this.live) this.#firstLiveAt ??= time;
    const enough = this.#firstLiveAt !== null && time >= this.#firstLiveAt + OTHERS_MS;
    if (enough || this.#readers.every(({ live }) => live)) this.#beganAt = time;
  }

  /** Delivers the last values as soon as all brokers that are there have sent theirs. Of a topic that several brokers have,
   * the value that was received last counts. */
  #releaseLastValues(time) {
    const loading = [...this.#streams.values()].filter(({ loadsLastValues }) => loadsLastValues);
    if (loading.length === 0 || this.#beganAt === null) return;
    this.#lastUntil ??= time + LAST_WAIT_MS;
    const ready = loading.filter(({ lastValues }) => lastValues !== null);
    if (ready.length < loading.length && time < this.#lastUntil) return;
    this.#lastUntil = 0;
    const received = this.#lastReceived;
    for (const { lastValues } of ready) {
      for (const [topic, { received_ns: ns }] of lastValues) {
        if (!(received.get(topic) > ns)) received.set(topic, ns);
      }
    }
    for (const stream of ready) stream.releaseLastValues((topic, stamp) => stamp.received_ns >= received.get(topic));
  }

  /** The reader of the stream that a live reply has shown. Two brokers with the same stream share it. */
  #attach(reader, live) {
    let stream = this.#streams.get(live.stream);
    if (!stream) {
      stream = new StreamReader(live.stream, this.#patterns, this.#begin(reader, live), live.position, {
        control: reader.channel, counters: this.#counters, deliver: (item) => this.#deliver(item),
        mark: (id, position) => this.#onResumePosition(id, position), hasPolicy: this.#hasKeys,
        notePermission: (pattern, error) => this.#onPermission(pattern, error),
      });
      this.#streams.set(live.stream, stream);
    }
    return stream;
  }

  #begin(reader, live) {
    const time = now();
    // A time before now by the clock of the broker that has just sent the live reply: rather too early than too late.
    const brokerTime = (ago) => live.received_ns - nanoseconds(ago);
    if (reader.previous !== null) {
      // A new incarnation: all of it is new.
      if (originOf(reader.previous) === originOf(live.stream) || this.#readers.length === 1) return { position: 0n };
      return { sinceNs: brokerTime(time - (this.#beganAt ?? time)) };
    }
    if (this.#token.size > 0) return this.#resume(live);
    if (this.#since?.offset !== undefined) return { offset: this.#since.offset };
    if (this.#since?.atNs !== undefined) return { sinceNs: this.#since.atNs };
    if (this.#since) return { sinceNs: brokerTime(time - this.#createdAt) - this.#since.agoNs };
    if (this.#last && this.#beganAt === null) return { last: true };
    // A broker that appears while we are reading: everything since then is to be delivered.
    if (this.#beganAt !== null) return { sinceNs: brokerTime(time - this.#beganAt) };
    return {};
  }

  #resume({ stream, position: livePosition }) {
    const position = this.#token.get(stream);
    if (position !== undefined) {
      if (position <= livePosition) return { position };
      this.#reset(stream, stream);
      return { position: 0n };
    }
    // An earlier incarnation of this broker, or of the only broker that there is.
    const only = this.#token.size === 1 && this.#readers.length === 1;
    const old = [...this.#token.keys()].find((each) => only || originOf(each) === originOf(stream));
    if (old !== undefined) this.#reset(old, stream);
    return { position: 0n };
  }

  #onReplaced(reader, old, replacement) {
    const stream = this.#streams.get(old);
    if (stream) {
      const other = this.#readers.find((each) => each !== reader && each.stream === stream);
      if (other) {
        stream.control = other.channel;
        return;
      }
      this.#streams.delete(old);
      stream.end();
    }
    this.#reset(old, replacement);
  }

  #reset(old, replacement) {
    this.#throttle?.releaseAll(now());
    this.#counters.resets += 1;
    this.#ready.push(new Reset(old, replacement));
    if (old !== replacement) this.#ready.push(new Mark(old, null));
    this.#ready.push(new Mark(replacement, 0n));
  }

  // The queue.

  #next() {
    let item = null;
    this.#held = false;
    while (item === null && this.#returned < this.#ready.length) {
      const next = this.#ready[this.#returned];
      if (next instanceof Event) {
        this.#held = this.#types.holds(this.#ready, this.#returned);
        if (this.#held) return null;
        this.#counters.given += 1;
      }
      this.#returned += 1;
      if (!(next instanceof Mark)) item = next;
      else if (next.position === null) this.#positions.delete(next.stream);
      else this.#positions.set(next.stream, next.position);
    }
    if (this.#returned >= this.#ready.length) {
      this.#ready.length = 0;
      this.#returned = 0;
    }
    return item;
  }

  #deliver(item) {
    if (item instanceof Gap) {
      this.#counters.gaps += 1;
      if (item.first > 0n) this.#counters.lost += Number(item.last - item.first) + 1;
    } else if (item instanceof Reset) {
      this.#counters.resets += 1;
    }
    if (this.#throttle && item instanceof Event) {
      this.#throttle.event(item, now());
      return;
    }
    if (item instanceof Gap) this.#throttle?.release(item.topic, now());
    else if (item instanceof Reset) this.#throttle?.releaseAll(now());
    this.#ready.push(item);
  }

  #onResumePosition(stream, position) {
    if (position === null) return;
    const waiting = this.#throttle?.lowestWaiting(stream) ?? null;
    this.#ready.push(new Mark(stream, waiting !== null && waiting <= position ? waiting - 1n : position));
  }
}

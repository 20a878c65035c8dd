// One stream's events: in order within each topic, once, and with a Gap for every event that is lost.

import { StreamProgress } from "./progress.js";
import { now } from "./time.js";
import { Event, Gap, readStamp, Reset } from "./wire.js";

const REPLY_TIMEOUT_MS = 4000;
const REPLAY_TIMEOUTS_MS = [4000, 8000, 16_000]; // of a replay and its repetitions: the reply may be on its way
const ATTEMPTS_MAX = 5; // requests in a row without a reply: what they were to recover is lost
const BUSY_PAUSE_MS = 100; // before a request that the broker was too busy for is sent again
const TAILS_INTERVAL_MS = 1000; // how often to check for losses that no later event reveals
const GRACE_MS = 100; // how long an event that a tail shows may still be in flight
const MARK_INTERVAL_MS = 50; // how often the resume position is computed, at most
const WAITING_BYTES_MAX = 64 << 20;
const JOIN_BYTES_MAX = 16 << 20;
const NOTHING = Buffer.alloc(0);
const reasonOf = ({ upstream }) => (upstream ? "lost_upstream" : "damaged");

const most = (a, b) => (a > b ? a : b);

const isForbidden = (reply) => reply?.end === "error" && reply.error.code === "not_permitted";

/** Whether the request's cursor is of the broker's process before this one, which has the same stream. What has arrived
 * is known without it. */
const isForeignCursor = (reply) => reply?.end === "error" && reply.error.code === "bad_cursor";

/** Reads one stream. An event that shows a hole waits, with its topic's later events, until the missing ones have been
 * recovered or are known to be lost; other topics do not wait. Owns no socket: events are handed to it, and it sends
 * requests over `control`, which may be replaced. */
export class StreamReader {
  #patterns;
  #deliver;
  #mark;
  #notePermission;
  #toCheck; // index of the last pattern that was requested alone
  #counters;
  #arrived; // the highest position that came live
  #holes = new Map(); // by topic, then by offset: events that wait, { bytes, stamp }
  #waitingBytes = 0;
  #suspects = new Map(); // topics of missing events that may still be in flight: until when
  #join = []; // live events that wait for the catch-up
  #joinBytes = 0;
  #catchUp = null; // { begin, until, histories, lostSome }: replays up to the live reply, merged in order of positions
  #highest = 0n; // position of an event that has been delivered
  // { patterns (not read completely), cursor, values (by topic: { bytes, stamp }), destroyed, unread (patterns), … }: the
  // last values of the topics, which come before everything else
  #lastValues = null;
  #tailsAfter;
  #tails = null; // { after, cursor, position, tails }: a request for tails under way
  #tailsAt = 0;
  #repair = null; // { topic, after, until, cursor, lostSome }: a replay of the missing events of one topic
  #request = null; // names the replay under way
  #requested = false;
  #attempts = 0;
  #retryAt = 0;
  #marked = null;
  #moved = true;
  #markAt = 0;
  #ended = false;

  /** `begin`: after { position }, or after { offset } of the one topic, or at { sinceNs } of the broker's clock; {}: at the
   * live reply; { last: true }: the same, after the last values. `deliver` takes each Event, Gap or Reset; `mark(stream,
   * position)` notes that everything up to a position has been delivered before; `notePermission(pattern, error)` notes whether we may read a pattern (null) or not.
   * `hasPolicy`: the broker may permit some of the patterns and hide the others, which is found out. `counters`:
   * { duplicates, recovered, … }. */
  constructor(stream, patterns, begin, livePosition, {
    control, deliver, mark, counters, notePermission, hasPolicy = false,
  }) {
    this.stream = stream;
    this.control = control;
    this.#patterns = patterns;
    this.#deliver = deliver;
    this.#mark = mark;
    this.#notePermission = notePermission;
    this.#toCheck = hasPolicy && patterns.length > 1 ? -1 : null;
    this.#counters = counters;
    const anywhere = begin.position !== undefined || begin.offset !== undefined || begin.sinceNs !== undefined;
    const start = begin.offset !== undefined ? 0n : anywhere ? begin.position ?? null : livePosition;
    this.progress = new StreamProgress(stream, start);
    if (begin.offset) this.progress.done(patterns[0].text, begin.offset, 0n);
    this.#arrived = livePosition;
    if (begin.last) {
      this.#lastValues = { patterns: patterns.map(({ text }) => text), cursor: NOTHING, restarted: false, requested: false,
        attempts: 0, values: new Map(), destroyed: [], unread: [] };
    }
    if (anywhere && start !== livePosition) {
      const histories = patterns.map(({ text: pattern }) => (
        { pattern, after: null, cursor: NOTHING, through: 0n, complete: false, events: [] }));
      this.#catchUp = { begin, until: livePosition, histories, lostSome: false };
    }
    this.#tailsAfter = start ?? livePosition;
  }

  // What arrives.

  /** An event of the live stream. */
  onEvent(topic, bytes, stamp) {
    this.#arrived = most(this.#arrived, stamp.position);
    if (!this.#catchUp && !this.#lastValues) {
      this.#take(topic, bytes, stamp, true);
    } else if (this.#joinBytes + bytes.length <= JOIN_BYTES_MAX) {
      this.#join.push([topic, bytes, stamp]);
      this.#joinBytes += bytes.length;
    }
    // Otherwise history has it: its topic's next event, or its tail, shows that it is missing.
  }

  /** A live reply: every event up to `position` that was to arrive has arrived. `anew`: the first one after the connection
   * was lost. */
  onLive(position, anew) {
    this.#arrived = most(this.#arrived, position);
    if (anew) this.#tailsAt = 0;
  }

  /** There is nothing more of this stream: what is missing is lost, and what waits for it is delivered. */
  end() {
    this.#ended = true;
    if (this.#lastValues) this.releaseLastValues(() => true);
    if (this.#catchUp) {
      for (const history of this.#catchUp.histories) history.complete = true;
      this.#merge();
    }
    for (const topic of new Set([...this.#holes.keys(), ...this.progress.missing.keys()])) {
      if (!this.#holes.has(topic)) this.#holes.set(topic, new Map());
      while (this.#holes.has(topic)) this.#giveUp(topic, this.progress.missing.get(topic), "history_gone");
    }
  }

  // What time brings.

  /** Sends the requests that are due. `drained`: nothing that has been received is left. */
  work(time, drained) {
    this.#judgeSuspects(time, drained);
    if (!this.#requested && time >= this.#retryAt) {
      if (this.#lastValues) this.#requestLastValues();
      else if (this.#catchUp) this.#requestCatchUp();
      else if (this.#repair || this.#holes.size > 0) this.#requestRepair();
    }
    if (this.#lastValues) return;
    if (!this.#catchUp && !this.#tails && time >= this.#tailsAt) {
      this.#tails = { after: this.#tailsAfter, cursor: NOTHING, position: 0n, tails: [] };
      this.#requestTails();
    }
    if (this.#moved && time >= this.#markAt) {
      this.#moved = false;
      this.#markAt = time + MARK_INTERVAL_MS;
      const position = this.progress.resumePosition();
      if (position !== this.#marked) {
        this.#marked = position;
        this.#mark(this.stream, position);
      }
    }
  }

  /** When work() has something to do even if nothing arrives. */
  due(drained) {
    if (this.#lastValues) {
      const { requested, patterns } = this.#lastValues;
      return requested || patterns.length === 0 ? Infinity : this.#retryAt;
    }
    let due = this.#moved ? this.#markAt : Infinity;
    if (!this.#requested && (this.#catchUp || this.#repair || this.#holes.size > 0)) due = Math.min(due, this.#retryAt);
    if (!this.#catchUp && !this.#tails) due = Math.min(due, this.#tailsAt);
    if (drained) for (const graceUntil of this.#suspects.values()) due = Math.min(due, graceUntil);
    return due;
  }

  // Order.

  #take(topic, bytes, stamp, isLive) {
    const { offset, previous, position } = stamp;
    const fromHistory = !isLive;
    if (offset === 0n) { // some system events are not numbered
      this.#pass(topic, bytes, stamp, { fromHistory });
      return;
    }
    const last = this.progress.last(topic);
    let hole = this.#holes.get(topic);
    if (offset <= (last?.offset ?? 0n) || hole?.has(offset)) {
      if (isLive) this.#counters.duplicates += 1;
      return;
    }
    const gapless = last ? offset === last.offset + 1n : !this.progress.lacks(topic, offset - 1n, previous);
    if (!hole && gapless) {
      this.#pass(topic, bytes, stamp, { fromHistory });
      return;
    }
    if (!hole) {
      hole = new Map();
      this.#holes.set(topic, hole);
      this.progress.miss(topic, offset - 1n, previous);
    }
    if (this.#waitingBytes + bytes.length > WAITING_BYTES_MAX) {
      this.progress.miss(topic, offset, position); // recovered as well
      return;
    }
    hole.set(offset, { bytes, stamp });
    this.#waitingBytes += bytes.length;
    this.#drain(topic);
  }

  #pass(topic, bytes, stamp, { fromHistory = false } = {}) {
    const { offset, position } = stamp;
    if (offset > 0n) {
      this.#moved ||= this.progress.missing.has(topic);
      this.progress.done(topic, offset, position);
    }
    let item;
    try {
      item = new Event(topic, bytes, stamp, { fromHistory, late: position > 0n && position < this.#highest });
      this.#highest = most(this.#highest, position);
    } catch {
      item = new Gap(this.stream, topic, offset, offset, "undecodable");
    }
    this.#deliver(item);
  }

  /** The offset of the topic's next event; 0n: unknown. */
  #expected(topic) {
    const last = this.progress.last(topic);
    return last ? last.offset + 1n : this.progress.start === 0n ? 1n : 0n;
  }

  #pop(topic, offset) {
    const hole = this.#holes.get(topic);
    const waiting = hole?.get(offset);
    if (waiting) {
      hole.delete(offset);
      this.#waitingBytes -= waiting.bytes.length;
    }
    return waiting;
  }

  /** Delivers the topic's waiting events for which nothing is missing any more, and closes the hole behind the last of
   * them. */
  #drain(topic) {
    for (let waiting; (waiting = this.#pop(topic, this.#expected(topic)));) {
      this.#pass(topic, waiting.bytes, waiting.stamp);
    }
    if (this.progress.missing.has(topic)) return;
    const hole = this.#holes.get(topic);
    const expected = this.#expected(topic);
    let first = null;
    for (const offset of [...hole.keys()]) {
      if (offset < expected) this.#pop(topic, offset);
      else if (first === null || offset < first) first = offset;
    }
    if (first === null) this.#holes.delete(topic);
    else this.progress.miss(topic, first - 1n, hole.get(first).stamp.previous);
  }

  /** Whatever of the topic is still missing up to the place `until` is lost. */
  #skipTo(topic, until, reason) {
    const offsets = [...this.#holes.get(topic).keys()].filter((offset) => offset <= until.offset);
    for (const offset of offsets.sort((a, b) => (a < b ? -1 : 1))) {
      this.#lose(topic, offset - 1n, reason);
      const waiting = this.#pop(topic, offset);
      if (offset >= this.#expected(topic)) this.#pass(topic, waiting.bytes, waiting.stamp);
    }
    this.#lose(topic, until.offset, reason);
    if ((this.progress.last(topic)?.offset ?? -1n) < until.offset) {
      this.progress.done(topic, until.offset, until.position);
    }
    this.#moved = true;
  }

  #lose(topic, last, reason) {
    const first = this.#expected(topic);
    if (last > 0n && first <= last) this.#deliver(new Gap(this.stream, topic, first, last, reason));
  }

  #giveUp(topic, until, reason) {
    this.#skipTo(topic, until, reason);
    this.#drain(topic);
  }

  // The last values.

  /** Whether last values are to be delivered before everything else: by releaseLastValues(). */
  get loadsLastValues() {
    return this.#lastValues !== null;
  }

  /** The stamps of the last values by topic, a Map; null until all have been read. */
  get lastValues() {
    if (!this.#lastValues || this.#lastValues.patterns.length > 0) return null;
    return new Map([...this.#lastValues.values].map(([topic, { stamp }]) => [topic, stamp]));
  }

  /** Delivers the last values for which `wanted(topic, stamp)` holds, in order of topics, then the events that have arrived
   * since. */
  releaseLastValues(wanted) {
    const { patterns, values, destroyed, unread } = this.#lastValues;
    this.#lastValues = null;
    for (const pattern of [...unread, ...patterns]) {
      this.#deliver(new Gap(this.stream, pattern, 0n, 0n, "recovery_timeout"));
    }
    for (const topic of [...values.keys()].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))) {
      const { bytes, stamp } = values.get(topic);
      if (stamp.offset > 0n) this.progress.done(topic, stamp.offset, stamp.position);
      if (!wanted(topic, stamp)) continue;
      let item;
      try {
        item = new Event(topic, bytes, stamp, { fromHistory: true });
      } catch {
        item = new Gap(this.stream, topic, stamp.offset, stamp.offset, "undecodable");
      }
      this.#deliver(item);
    }
    for (const each of destroyed) this.#takeDestroyed(each.topic, each);
    this.#moved = true;
    this.#drainJoin();
  }

  #requestLastValues() {
    const last = this.#lastValues;
    if (last.requested || last.patterns.length === 0) return;
    last.requested = true;
    this.control.request({ retained: { pattern: last.patterns[0], cursor: last.cursor } }, REPLY_TIMEOUT_MS,
      (reply) => this.#onLastValues(reply));
  }

  #onLastValues(reply) {
    const last = this.#lastValues;
    if (!last || this.#ended) return;
    last.requested = false;
    this.#judgePermission(last.patterns[0], reply);
    const end = reply?.end;
    if (end === "complete" || end === "more") {
      for (const { topic, event } of reply.retained?.events ?? []) {
        const bytes = Buffer.from(event.buffer, event.byteOffset, event.length);
        const stamp = readStamp(bytes);
        if (stamp) last.values.set(topic, { bytes, stamp });
      }
      last.destroyed.push(...(reply.retained?.destroyed ?? []));
      last.attempts = 0;
      if (end === "more" && !last.cursor.equals(reply.more.cursor)) {
        last.cursor = Buffer.from(reply.more.cursor);
        return;
      }
    } else if (!reply && last.attempts + 1 < ATTEMPTS_MAX) {
      last.attempts += 1;
      return;
    } else if (end === "error" && reply.error.code === "busy") {
      this.#retryAt = now() + BUSY_PAUSE_MS;
      return;
    } else if (isForeignCursor(reply) && last.cursor.length > 0 && !last.restarted) {
      Object.assign(last, { cursor: NOTHING, restarted: true });
      return;
    } else if (!isForbidden(reply)) {
      last.unread.push(last.patterns[0]);
    }
    last.patterns.shift();
    Object.assign(last, { cursor: NOTHING, restarted: false, attempts: 0 });
  }

  // Catching up with history.

  #requestCatchUp() {
    const { begin, until, histories } = this.#catchUp;
    const open = histories.filter(({ complete }) => !complete);
    const history = open.reduce((a, b) => (b.through < a.through ? b : a));
    const position = history.after ?? begin.position;
    const start = position !== undefined ? { after_position: { stream: this.stream, position } }
      : begin.offset !== undefined ? { after_offset: begin.offset } : { since_ns: begin.sinceNs };
    const { pattern, cursor } = history;
    this.#sendReplay({ pattern, until_position: until, cursor, ...start }, (reply) => this.#onCatchUp(history, reply));
  }

  #onCatchUp(history, reply) {
    const catchUp = this.#catchUp;
    const end = reply?.end;
    if (end === "error" && reply.error.code === "not_reached") {
      // The topic has not come to this offset: it is one of an earlier incarnation.
      this.#deliver(new Reset(this.stream, this.stream));
      this.progress.forget();
      catchUp.begin = { position: 0n };
      return;
    }
    if (isForeignCursor(reply) && history.cursor.length > 0
      && (history.through > (history.after ?? 0n) || !history.restarted)) {
      const after = most(history.through, history.after ?? 0n);
      Object.assign(history, { after: after > 0n ? after : null, cursor: NOTHING, restarted: true });
      return;
    }
    if (end === "more" && !history.cursor.equals(reply.more.cursor)) {
      history.cursor = Buffer.from(reply.more.cursor);
    } else if (end !== "gone" || !this.#skipGone(history, reply.gone.first_available - 1n)) {
      history.complete = true;
    }
    if (end === "complete" || end === "more") {
      // Events that the broker can no longer read have no bytes.
      const events = (reply.replay?.destroyed ?? []).map((each) => [each.topic, null, each]);
      this.#eachStored(reply, (...event) => events.push(event));
      events.sort(([, , a], [, , b]) => (a.position < b.position ? -1 : Number(a.position > b.position)));
      history.events.push(...events);
      history.through = most(history.through, reply.replay?.through_position ?? 0n);
    } else {
      if (catchUp.begin.sinceNs !== undefined && !catchUp.lostSome) {
        // Nobody knows of which topics, and how much.
        this.#deliver(new Gap(this.stream, history.pattern, 0n, 0n, reply ? "history_gone" : "recovery_timeout"));
      }
      catchUp.lostSome = true;
    }
    this.#merge();
  }

  /** Goes on where history begins. Returns false if it has nothing up to the live reply. */
  #skipGone(history, after) {
    if (after <= most(history.through, history.after ?? 0n) || after >= this.#catchUp.until) return false;
    Object.assign(history, { after, cursor: NOTHING, through: after });
    return true;
  }

  /** Delivers, in order of positions, what no replay can precede any more. */
  #merge() {
    const { histories, until, lostSome } = this.#catchUp;
    let limit = until;
    for (const { complete, through } of histories) if (!complete && through < limit) limit = through;
    const positionOf = ({ events: [event] }) => event[2].position;
    for (;;) {
      const ready = histories.filter((each) => each.events.length > 0 && positionOf(each) <= limit);
      if (ready.length === 0) break;
      const first = ready.reduce((a, b) => (positionOf(b) < positionOf(a) ? b : a));
      const [topic, bytes, stamp] = first.events.shift();
      if (bytes) this.#take(topic, bytes, stamp, false);
      else this.#takeDestroyed(topic, stamp);
      if (!lostSome && this.progress.missing.size === 0) {
        this.progress.verified = stamp.position;
        this.#marked = this.progress.resumePosition();
        this.#mark(this.stream, this.#marked);
      }
    }
    if (histories.every(({ complete }) => complete)) this.#finishCatchUp();
  }

  #takeDestroyed(topic, { first_offset: first, last_offset: offset, position, upstream }) {
    const reason = reasonOf({ upstream });
    const expected = this.#expected(topic);
    if (expected > offset) return;
    if (this.#holes.has(topic)) {
      this.#giveUp(topic, { offset, position }, reason);
      return;
    }
    this.#deliver(new Gap(this.stream, topic, most(expected, first), offset, reason));
    this.progress.done(topic, offset, position);
    this.#moved = true;
  }

  #finishCatchUp() {
    const { until } = this.#catchUp;
    this.#catchUp = null;
    if (this.progress.start === null) {
      this.progress.start = until;
      this.progress.verified = until;
      this.#moved = true;
    }
    this.#drainJoin();
  }

  #drainJoin() {
    const join = this.#join;
    this.#join = [];
    this.#joinBytes = 0;
    for (const [topic, bytes, stamp] of join) this.#take(topic, bytes, stamp, true);
  }

  // Recovering what is missing.

  #requestRepair() {
    if (!this.#repair) {
      const [topic] = this.#holes.keys();
      const after = this.progress.after(topic) ?? 0n;
      this.#repair = { topic, after, until: this.progress.missing.get(topic), cursor: NOTHING, lostSome: false,
        reason: "history_gone" };
    }
    const { topic, after, until, cursor } = this.#repair;
    const start = { after_position: { stream: this.stream, position: after } };
    this.#sendReplay({ pattern: topic, until_position: until.position, cursor, ...start },
      (reply) => this.#onRepair(reply));
  }

  #onRepair(reply) {
    const repair = this.#repair;
    if (!reply) {
      this.#repair = null;
      for (const topic of [...this.#holes.keys()]) {
        this.#giveUp(topic, this.progress.missing.get(topic), "recovery_timeout");
      }
      return;
    }
    const { topic, until } = repair;
    if (!this.#holes.has(topic)) {
      this.#repair = null; // what was missing has arrived
      return;
    }
    if (isForeignCursor(reply) && repair.cursor.length > 0) {
      const arrived = this.progress.after(topic) ?? 0n;
      if (arrived > repair.after || !repair.restarted) {
        Object.assign(repair, { after: most(arrived, repair.after), cursor: NOTHING, restarted: true });
        return;
      }
    }
    if (reply.end === "gone") {
      repair.lostSome = true;
      const after = reply.gone.first_available - 1n;
      if (repair.after < after && after < until.position) {
        repair.after = after;
        repair.cursor = NOTHING;
        return;
      }
    } else if (reply.end === "complete" || reply.end === "more") {
      if (reply.replay?.destroyed?.length > 0) repair.reason = reasonOf(reply.replay.destroyed.at(-1));
      this.#eachStored(reply, (_, bytes, stamp) => this.#recover(repair, bytes, stamp));
      if (reply.end === "more" && !repair.cursor.equals(reply.more.cursor) && this.#holes.has(topic)) {
        repair.cursor = Buffer.from(reply.more.cursor);
        return;
      }
    }
    this.#repair = null;
    if (!this.#holes.has(topic)) return;
    this.#giveUp(topic, until, repair.reason);
    const hole = this.#holes.get(topic);
    if (hole) { // the others have their turn first
      this.#holes.delete(topic);
      this.#holes.set(topic, hole);
    }
  }

  #recover({ topic, lostSome, reason }, bytes, stamp) {
    const { offset, previous } = stamp;
    const last = this.progress.last(topic);
    const expected = this.#expected(topic);
    if (!this.#holes.has(topic) || offset <= (last?.offset ?? 0n)) return;
    if (offset > expected && (expected > 0n || lostSome)) {
      this.#skipTo(topic, { offset: offset - 1n, position: previous }, reason);
    }
    this.#pop(topic, offset);
    this.#counters.recovered += 1;
    this.#pass(topic, bytes, stamp);
    this.#drain(topic);
  }

  /** One replay at a time. A reply that comes after its request was repeated counts, and those that follow it do not. */
  #sendReplay(replay, onReply) {
    const { pattern, until_position: until, cursor, ...start } = replay;
    const { after_position: after, after_offset: offset, since_ns: sinceNs } = start;
    const key = [pattern, until, cursor.toString("hex"), after?.position, offset, sinceNs].join("|");
    if (key !== this.#request) {
      this.#request = key;
      this.#attempts = 0;
    }
    this.#requested = true;
    const timeout = REPLAY_TIMEOUTS_MS[Math.min(this.#attempts, REPLAY_TIMEOUTS_MS.length - 1)];
    this.control.request({ replay }, timeout, (reply) => {
      if (this.#ended || key !== this.#request) return;
      this.#requested = false;
      this.#judgePermission(pattern, reply);
      if (this.#tryAgain(reply)) return;
      this.#request = null;
      onReply(reply);
    }, { evenLate: true });
  }

  #eachStored(reply, take) {
    for (const { topic, event } of reply.replay?.events ?? []) {
      const bytes = Buffer.from(event.buffer, event.byteOffset, event.length);
      const stamp = readStamp(bytes);
      if (stamp) take(topic, bytes, stamp);
    }
  }

  /** Whether the replay is to be requested again: without progress, only a limited number of times. */
  #tryAgain(reply) {
    if (!reply) {
      this.#attempts += 1;
      if (this.#attempts < ATTEMPTS_MAX) return true;
    } else if (reply.end === "error" && reply.error.code === "busy") {
      this.#retryAt = now() + BUSY_PAUSE_MS;
      return true;
    }
    return false;
  }

  #judgePermission(pattern, reply) {
    if (reply) this.#notePermission(pattern, isForbidden(reply) ? reply.error : null);
  }

  /** Requests the tails of the next pattern alone: a reply to several leaves out those that we may not read. */
  #checkPattern() {
    if (this.#toCheck === null) return;
    this.#toCheck = (this.#toCheck + 1) % this.#patterns.length;
    const { text } = this.#patterns[this.#toCheck];
    this.control.request({ tails: { patterns: [text], after_position: this.#tailsAfter } }, REPLY_TIMEOUT_MS,
      (reply) => this.#judgePermission(text, reply));
  }

  // Losses that no later event reveals: at the end of a topic.

  #requestTails() {
    const { after, cursor } = this.#tails;
    this.control.request({ tails: { patterns: this.#patterns.map(({ text }) => text), after_position: after, cursor } },
      REPLY_TIMEOUT_MS, (reply) => this.#onTails(reply));
  }

  #onTails(reply) {
    const tails = this.#tails;
    if (this.#ended || !tails) return;
    // Of several, the error names the first.
    if (this.#patterns.length === 1 || isForbidden(reply)) this.#judgePermission(this.#patterns[0].text, reply);
    if ((reply?.end === "complete" || reply?.end === "more") && reply.stream === this.stream) {
      tails.position ||= reply.position;
      tails.tails.push(...(reply.tails?.tails ?? []));
      if (reply.end === "more" && !tails.cursor.equals(reply.more.cursor)) {
        tails.cursor = Buffer.from(reply.more.cursor);
        this.#requestTails();
        return;
      }
      this.#suspect(tails);
    }
    this.#checkPattern();
    this.#tails = null;
    this.#tailsAt = now() + TAILS_INTERVAL_MS;
  }

  #suspect({ position: complete, tails }) {
    this.#tailsAfter = complete;
    for (const { topic, offset, position } of tails) {
      if (!this.progress.lacks(topic, offset, position)) continue;
      this.progress.miss(topic, offset, position);
      if (!this.#suspects.has(topic)) this.#suspects.set(topic, now() + GRACE_MS);
    }
    this.progress.verified = most(this.progress.verified ?? 0n, complete);
    this.#moved = true;
  }

  #judgeSuspects(time, drained) {
    const { missing } = this.progress;
    for (const [topic, graceUntil] of this.#suspects) {
      const place = missing.get(topic);
      if (!place || this.#holes.has(topic)) {
        this.#suspects.delete(topic);
      } else if (this.#arrived >= place.position || (drained && time >= graceUntil)) {
        this.#suspects.delete(topic);
        this.#holes.set(topic, new Map());
      }
    }
  }
}

// clients/node: the order of one stream, with a broker that is simulated: every event once and in order within its
// topic, and a resume position that never passes what was not delivered. As python_order_test.py.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Event, Pattern, readStamp } from "../../clients/node/index.js";
import { encode } from "../../clients/node/lib/proto.js";
import { FIRST, MOST, ReplySize } from "../../clients/node/lib/reply_size.js";
import { StreamReader } from "../../clients/node/lib/stream_reader.js";

const STREAM = 0x0123456789abcdefn;
const TOPICS = ["a.x", "a.y", "a.z", "b"];
const HEAD = Buffer.from(readFileSync(new URL("../golden/stamp.hex", import.meta.url), "utf8")
  .replace(/#.*/g, "").replace(/\s/g, ""), "hex").subarray(0, 2);

function stampBytes({ position, offset, previous }) {
  const fields = Buffer.alloc(45);
  [STREAM, position, offset, previous, 0n].forEach((value, field) => {
    fields[9 * field] = 9 + 8 * field;
    fields.writeBigUInt64LE(value, 9 * field + 1);
  });
  return Buffer.concat([HEAD, fields]);
}

class Choice {
  constructor(seed) {
    this.state = (seed * 2654435761) >>> 0;
  }

  random() {
    this.state = (Math.imul(this.state, 1664525) + 1013904223) >>> 0;
    return this.state / 2 ** 32;
  }

  below(limit) {
    return Math.floor(this.random() * limit);
  }
}

// A stream, its history, and a control endpoint that replies when reply() is called.
class FakeBroker {
  events = [];
  last = new Map();
  requests = [];
  silent = 0; // requests in a row without a reply

  constructor(choice) {
    this.choice = choice;
  }

  get position() {
    return BigInt(this.events.length);
  }

  publish(topic) {
    const before = this.last.get(topic) ?? { offset: 0n, position: 0n };
    const place = { position: this.position + 1n, offset: before.offset + 1n, previous: before.position };
    const bytes = Buffer.concat([encode("backplane.v1.Event", { text: String(place.offset) }), stampBytes(place)]);
    this.last.set(topic, place);
    this.events.push([topic, bytes, readStamp(bytes)]);
    return this.events.at(-1);
  }

  // As a ControlChannel.
  request(request, timeout, onReply) {
    this.requests.push([request, onReply]);
  }

  // Replies to one request, sometimes not (at most twice in a row), and sometimes that it is busy or, as after a
  // restart with the same stream, that it does not know the cursor.
  reply() {
    if (this.requests.length === 0) return;
    const [request, onReply] = this.requests.shift();
    const chance = this.choice.random();
    const reply = { stream: STREAM, position: this.position };
    const silent = chance < 0.1 && this.silent < 2;
    this.silent = silent ? this.silent + 1 : 0;
    if (silent) onReply(null);
    else if (chance < 0.15) onReply({ ...reply, end: "error", error: { code: "busy" } });
    else if (chance < 0.2 && request.replay?.cursor?.length > 0) {
      onReply({ ...reply, end: "error", error: { code: "bad_cursor" } });
    }
    else onReply({ ...reply, ...(request.replay ? this.#replay(request.replay) : this.#tails(request.tails)) });
  }

  #replay({ pattern, after_position: start, until_position: until, cursor }) {
    const matching = new Pattern(pattern);
    const after = cursor?.length ? BigInt(cursor.toString()) : start.position;
    const all = this.events.filter(([topic, , { position }]) =>
      matching.matches(topic) && position > after && position <= (until || 2n ** 60n));
    const slice = all.slice(0, 1 + this.choice.below(5));
    const replay = { events: slice.map(([topic, event]) => ({ topic, event })), through_position: until };
    if (slice.length === all.length) return { replay, end: "complete" };
    replay.through_position = slice.at(-1)[2].position;
    return { replay, end: "more", more: { cursor: Buffer.from(String(replay.through_position)) } };
  }

  #tails({ patterns, after_position: after }) {
    const tails = [...this.last].filter(([topic, { position }]) =>
      position > after && patterns.some((pattern) => new Pattern(pattern).matches(topic)))
      .map(([topic, { position, offset }]) => ({ topic, position, offset }));
    return { tails: { tails }, end: "complete" };
  }
}

// A reader of a FakeBroker, some of whose live events are lost.
class Simulation {
  queue = []; // events and { mark }
  time = 1e12; // everything is due

  constructor(seed, patterns, begin = {}, publishedBefore = 0) {
    this.choice = new Choice(seed);
    this.broker = new FakeBroker(this.choice);
    this.patterns = patterns.map((pattern) => new Pattern(pattern));
    for (let count = 0; count < publishedBefore; ++count) this.broker.publish(this.topic());
    this.startedAt = this.broker.position;
    this.reader = this.read(begin);
  }

  topic() {
    return TOPICS[this.choice.below(TOPICS.length)];
  }

  read(begin) {
    return new StreamReader(STREAM, this.patterns, begin, this.broker.position, {
      control: this.broker,
      deliver: (item) => this.queue.push(item),
      mark: (_, mark) => this.queue.push({ mark }),
      counters: { duplicates: 0, recovered: 0 },
      notePermission: () => {},
    });
  }

  matches(topic) {
    return this.patterns.some((pattern) => pattern.matches(topic));
  }

  step(loss) {
    for (let count = this.choice.below(4); count > 0; --count) {
      const event = this.broker.publish(this.topic());
      if (!this.matches(event[0]) || this.choice.random() < loss) continue;
      this.reader.onEvent(...event);
      if (this.choice.random() < 0.05) this.reader.onEvent(...event); // again
    }
    if (this.choice.random() < 0.1) this.reader.onLive(this.broker.position, this.choice.random() < 0.5);
    this.turn();
  }

  turn() {
    this.time += 1e6;
    this.reader.work(this.time, true);
    if (this.choice.random() < 0.7) this.broker.reply();
  }

  settle() {
    for (let count = 0; count < 3000; ++count) {
      this.turn();
      if (this.reader.progress.verified === this.broker.position && this.reader.progress.missing.size === 0
          && this.queue.at(-1)?.mark === this.broker.position) return;
    }
    assert.fail("it does not settle");
  }
}

const keyOf = (topic, stamp) => `${topic} ${stamp.offset}`;

// Every event after `after` came once and in order; and before each mark, all up to it did.
function check({ broker, queue, matches, ...simulation }, after, wantedBy) {
  const wanted = new Map(broker.events.filter(([topic, , { position }]) => wantedBy(topic) && position > after)
    .map(([topic, , stamp]) => [keyOf(topic, stamp), stamp.position]));
  const delivered = new Set();
  const last = new Map();
  for (const item of queue) {
    if (item instanceof Event) {
      const key = keyOf(item.topic, item.stamp);
      assert.ok(!delivered.has(key), `${key} came twice`);
      assert.ok(item.stamp.offset > (last.get(item.topic) ?? 0n), `the order of ${item.topic}`);
      last.set(item.topic, item.stamp.offset);
      delivered.add(key);
    } else if (item.mark !== null) {
      const missing = [...wanted].filter(([key, position]) => position <= item.mark && !delivered.has(key));
      assert.deepEqual(missing, [], `at the mark ${item.mark}`);
    }
  }
  assert.deepEqual([...delivered].sort(), [...wanted.keys()].sort());
}

const CHOICES = [["a.*"], ["a.x", "b"], [">"], ["a.x", "a.>", "a.*"]];

test("lost events are recovered in order, and marks never pass them", () => {
  for (let seed = 0; seed < 300; ++seed) {
    const simulation = new Simulation(seed, CHOICES[seed % CHOICES.length], {}, seed % 7);
    for (let count = 0; count < 60; ++count) simulation.step(0.3);
    simulation.settle();
    check(simulation, simulation.startedAt, (topic) => simulation.matches(topic));
  }
});

test("a reader that begins at a position gets everything after it", () => {
  for (let seed = 0; seed < 300; ++seed) {
    const position = BigInt(seed % 80);
    const simulation = new Simulation(seed, CHOICES[seed % CHOICES.length], { position }, 80);
    for (let count = 0; count < 30; ++count) simulation.step(0.3);
    simulation.settle();
    check(simulation, position, (topic) => simulation.matches(topic));
  }
});

test("readers that end after any event and resume miss nothing", () => {
  for (let seed = 0; seed < 30; ++seed) {
    const simulation = new Simulation(seed, ["a.x", "a.*"]);
    for (let count = 0; count < 40; ++count) simulation.step(0.3);
    simulation.settle();
    const queue = [...simulation.queue];
    const wanted = simulation.broker.events.filter(([topic]) => simulation.matches(topic))
      .map(([topic, , stamp]) => keyOf(topic, stamp));
    for (let cut = 0; cut <= queue.length; ++cut) {
      const seen = new Set(queue.slice(0, cut).filter((item) => item instanceof Event)
        .map(({ topic, stamp }) => keyOf(topic, stamp)));
      const position = queue.slice(0, cut).reduce((most, { mark }) => (mark > most ? mark : most), 0n);
      simulation.queue.length = 0;
      simulation.reader = simulation.read({ position });
      simulation.settle();
      for (const item of simulation.queue) if (item instanceof Event) seen.add(keyOf(item.topic, item.stamp));
      assert.deepEqual(wanted.filter((key) => !seen.has(key)), [], `seed ${seed}, cut ${cut}`);
    }
  }
});

// As tests/follower/reply_size_test.cpp.
class Path {
  size = new ReplySize();
  now = 1e6;

  next() {
    return this.size.next(this.now);
  }

  /** Returns how long the reply took, in ms. */
  request(bytesPerS, latency, available = MOST) {
    const requested = this.next();
    const bytes = Math.min(requested, available);
    const waited = latency + 1000 * bytes / bytesPerS;
    this.now += waited;
    this.size.onReply({ requested, bytes, waited, alone: true }, this.now);
    return waited;
  }
}

test("replies grow on a fast path, whatever its latency", () => {
  for (const latency of [1, 600]) {
    const path = new Path();
    assert.equal(path.next(), FIRST);
    for (let count = 0; count < 6; ++count) path.request(1e8, latency);
    assert.equal(path.next(), MOST);
  }
});

test("replies stay short on a slow path", () => {
  for (const rate of [4e3, 10e3, 50e3]) {
    const path = new Path();
    path.request(rate, 1, 100);
    for (let count = 0; count < 50; ++count) {
      const took = path.request(rate, 1);
      assert.ok(count === 0 || took < 1500, `${rate} bytes/s, ${count}: ${took} ms`);
    }
  }
});

test("replies shrink at once when the path becomes slow, and begin small after a pause", () => {
  const path = new Path();
  for (let count = 0; count < 10; ++count) path.request(1e8, 1);
  path.now += 6000;
  assert.equal(path.next(), FIRST);
  for (let count = 0; count < 10; ++count) path.request(1e8, 1);
  path.request(20e3, 1, 60_000);
  assert.ok(path.next() <= 8 << 10);
});

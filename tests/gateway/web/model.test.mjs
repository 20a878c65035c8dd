// The page's modules without DOM (gateway/web/page): patterns, lines, tokens, charts, commands. No browser.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { commandText, durationMs, eventsQuery, omitted } from "../../../gateway/web/page/commands.js";
import { Freshness } from "../../../gateway/web/page/freshness.js";
import { FieldFinder, fieldsOf, readField, WHOLE } from "../../../gateway/web/page/fields.js";
import { age, bytes, count, gapText, rate, value } from "../../../gateway/web/page/format.js";
import { matches, patternProblem, topicProblem } from "../../../gateway/web/page/pattern.js";
import { escapeText, parseLine, parseRequest, requestText } from "../../../gateway/web/page/protocol.js";
import { RateMeter } from "../../../gateway/web/page/rate.js";
import { Ring } from "../../../gateway/web/page/ring.js";
import { Sampler } from "../../../gateway/web/page/sampler.js";
import { axisRange, Chart, LINES_MAX, pointsToDraw } from "../../../gateway/web/page/series.js";
import { Figures, linkRows, StatusModel, storeRows } from "../../../gateway/web/page/status_model.js";
import { ReaderProgress, resumed } from "../../../gateway/web/page/token.js";
import { Topics, TOPICS_MAX, topicsPattern } from "../../../gateway/web/page/topics_model.js";
import { listPauseMs } from "../../../gateway/web/page/watch.js";
import { readHash, SUBSCRIPTIONS_MAX, writeHash } from "../../../gateway/web/page/url_state.js";

const golden = (name) => readFileSync(new URL(`../../golden/${name}`, import.meta.url), "utf8")
  .split("\n").filter((line) => line && !line.startsWith("# ")).map((line) => line.split("\t"));
const request = (more) => ({ pattern: "stock.>", last: false, every: "", since: "", policy: "", ...more });

// null if the bytes are no text, which a browser's input never contains.
function textOf(hex) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Buffer.from(hex, "hex"));
  } catch {
    return null;
  }
}

test("topics and patterns are valid or not, as in the golden cases", () => {
  let looked = 0;
  for (const [topic, pattern, hex] of golden("names.tsv")) {
    const text = textOf(hex ?? "");
    if (text === null) continue;
    assert.equal(topicProblem(text) === "", topic === "yes", hex);
    assert.equal(patternProblem(text) === "", pattern === "yes", hex);
    ++looked;
  }
  assert.ok(looked > 10);
  assert.notEqual(topicProblem("\ud800"), "");
});

test("patterns match as in the golden cases", () => {
  for (const [pattern, , topic, yes] of golden("patterns.tsv")) {
    assert.equal(matches(pattern, topic), yes === "yes", `${pattern} ${topic}`);
  }
});

test("text is escaped as in the golden cases", () => {
  for (const [which, hex, written] of golden("escapes.tsv")) {
    const text = textOf(hex);
    if (which === "both" && text !== null) assert.equal(escapeText(text), written);
  }
});

test("each kind of line is parsed", () => {
  assert.deepEqual(parseLine("+OK SUB stock.>"), { kind: "ok", word: "SUB", rest: "stock.>" });
  assert.deepEqual(parseLine('-ERR bad_topic a token is empty: "a..b"'),
    { kind: "error", code: "bad_topic", text: 'a token is empty: "a..b"' });
  assert.deepEqual(parseLine("+TOPIC stock.MSFT 17 128 2.1"), { kind: "topic", name: "stock.MSFT", offset: 17, bytes: 128, age: 2.1 });
  assert.equal(parseLine("+PONG").kind, "pong");
  assert.deepEqual(parseLine('{"gap":{"topic":"a","stream":"00c0ffee0000002a","first":1,"last":5,"reason":"slow_consumer"}}'),
    { kind: "gap", topic: "a", stream: "00c0ffee0000002a", first: 1, last: 5, reason: "slow_consumer" });
  assert.deepEqual(parseLine('{"wait":"broker"}'), { kind: "wait", word: "broker" });
  assert.equal(parseLine('{"topic":"a","position":1}').event.topic, "a");
});

test("broken and unknown lines are ignored", () => {
  for (const line of ["", "{", '{"new":1}', "+HELP x", "nonsense", "{}"]) assert.equal(parseLine(line).kind, "other", line);
});

test("a request is written as SUB's arguments, and parsed back", () => {
  const all = request({ last: true, every: "5s", since: "10m", policy: "latest" });
  assert.equal(requestText(all), "stock.> last every=5s since=10m policy=latest");
  assert.deepEqual(parseRequest(requestText(all)), all);
  assert.equal(parseRequest("a unknown"), null);
});

const A = "000000010000000a";
const B = "000000020000000b";
const event = (topic, stream, position, offset) => ({ topic, stream, position, offset });

test("an event arrives once, and does not show where to resume", () => {
  const progress = new ReaderProgress();
  assert.ok(progress.admit(event("a", A, 10, 1)));
  assert.ok(progress.admit(event("b", A, 5, 1)), "another topic, an earlier position");
  assert.ok(!progress.admit(event("a", A, 10, 1)));
  assert.ok(progress.admit(event("a", B, 3, 1)), "another broker has its own numbers");
  assert.ok(progress.admit(event("$SYS.x", A, 10, 0)) && progress.admit(event("$SYS.x", A, 10, 0)), "not numbered");
  assert.equal(progress.toString(), "");
  progress.complete(`${A}:7`);
  progress.complete(`${A}:5,${B}:3`);
  assert.equal(progress.toString(), `${A}:7,${B}:3`);
});

test("an event that was reported as lost does not arrive later", () => {
  const progress = new ReaderProgress();
  progress.lose("a", A, 4);
  progress.complete(`${A}:100`);
  assert.ok(!progress.admit(event("a", A, 101, 4)), "its position was unknown");
  assert.ok(progress.admit(event("a", A, 102, 5)));
});

test("a broker's new incarnation replaces its old one, and is read from its beginning", () => {
  const progress = new ReaderProgress();
  progress.complete(`${A}:7,${B}:3`);
  progress.restart("000000010000000c");
  assert.equal(progress.toString(), `${B}:3,000000010000000c:0`);
  assert.ok(progress.admit(event("a", "000000010000000c", 1, 1)));
  progress.restart("000000010000000c");
  assert.ok(!progress.admit(event("a", "000000010000000c", 1, 1)), "a reset comes for each topic");
});

test("a stream that has not reached the position begins again", () => {
  const progress = new ReaderProgress();
  progress.admit(event("a", A, 9, 9));
  progress.complete(`${A}:8`);
  progress.disconnected();
  progress.restart(A);
  assert.ok(progress.admit(event("a", A, 1, 1)));
  assert.equal(progress.toString(), `${A}:0`);
});

test("a token has at most 64 streams", () => {
  const progress = new ReaderProgress();
  for (let each = 0; each < 100; ++each) progress.complete(`${each.toString(16).padStart(8, "0")}00000001:1`);
  assert.equal(progress.toString().split(",").length, 64);
});

test("a request is resumed at the positions that are known, or made again for the time since", () => {
  const progress = new ReaderProgress();
  assert.equal(resumed(request(), progress, 2500.4).since, "3501ms");
  assert.equal(resumed(request({ since: "10m" }), progress, 2000).since, "603000ms");
  assert.equal(resumed(request({ since: "17" }), progress, 2000).since, "17");
  assert.deepEqual(resumed(request({ last: true }), progress, 2000), request({ last: true }));
  assert.deepEqual(resumed(request(), progress, null), request());
  progress.complete(`${A}:7`);
  assert.deepEqual(resumed(request({ last: true }), progress, 2000), request({ since: `${A}:7` }));
});

// The model of tests/follower/reader_progress_test.cpp, for the page.
test("nothing is missing or twice wherever the connection is cut", () => {
  for (let seed = 1; seed <= 300; ++seed) cutEverywhere(seed);
});

function cutEverywhere(seed) {
  let state = seed * 2654435761 % 2 ** 32;
  const pick = (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * below);
  };
  const topics = ["x.a", "x.b", "y.b", "y.c", "z.z"];
  const patterns = ["x.>", "x.a", "*.b", "y.c"].filter(() => pick(2) === 0);
  if (patterns.length === 0) patterns.push(">");
  const wanted = ({ topic }) => patterns.some((pattern) => matches(pattern, topic));
  const brokers = [1, 2].slice(pick(2)).map((origin) => ({ origin, life: 1, history: [], offsets: {} }));
  const nameOf = ({ origin, life }) => origin.toString(16).padStart(8, "0") + life.toString(16).padStart(8, "0");
  const progress = new ReaderProgress();
  const published = new Set();
  const received = new Set();
  const last = {};
  const key = (each) => `${each.stream} ${each.topic} ${each.offset}`;
  let live = [];
  const publishSome = () => {
    for (let count = pick(6); count > 0; --count) {
      const broker = brokers[pick(brokers.length)];
      const topic = topics[pick(topics.length)];
      const offset = broker.offsets[topic] = (broker.offsets[topic] ?? 0) + 1;
      const made = event(topic, nameOf(broker), broker.history.length + 1, offset);
      broker.history.push(made);
      live.push(made);
      if (wanted(made)) published.add(key(made));
    }
  };
  const tokenOf = (positions) => brokers.map((broker) => `${nameOf(broker)}:${positions.get(nameOf(broker))}`).join(",");

  const connection = () => {
    const from = new Map(progress.toString().split(",").filter(Boolean).map((part) => part.split(":")));
    const parts = patterns.map((pattern) => brokers.flatMap((broker) => {
      const name = nameOf(broker);
      const reset = from.size > 0 && !from.has(name) && [...from.keys()].some((old) => old.slice(0, 8) === name.slice(0, 8));
      const history = broker.history.filter((each) => each.position > Number(from.get(name) ?? 0) && matches(pattern, each.topic));
      return [...(reset ? [{ reset: name }] : []), ...history.map((each) => ({ event: each }))];
    }));
    const items = [];
    for (let open = parts.filter((part) => part.length); open.length; open = open.filter((part) => part.length)) {
      items.push(open[pick(open.length)].shift());
    }
    items.push({ token: tokenOf(new Map(brokers.map((broker) => [nameOf(broker), broker.history.length]))) });
    live = [];
    const late = new Map();
    for (let turn = 0; turn < 8; ++turn) {
      publishSome();
      for (const each of live.splice(0).filter(wanted)) {
        const of = `${each.stream} ${each.topic}`;
        if (late.get(of)?.length || pick(5) === 0) late.set(of, [...(late.get(of) ?? []), each]);
        else items.push({ event: each });
      }
      if (pick(3) === 0) {
        for (const events of late.values()) items.push(...events.splice(0).map((each) => ({ event: each })));
      }
      const complete = new Map(brokers.map((broker) => [nameOf(broker), broker.history.length]));
      for (const each of [...late.values()].flat()) {
        complete.set(each.stream, Math.min(complete.get(each.stream), each.position - 1));
      }
      if (pick(2) === 0) items.push({ token: tokenOf(complete) });
    }
    for (const events of late.values()) items.push(...events.map((each) => ({ event: each })));
    return items;
  };
  const receive = (item) => {
    if (item.reset) return progress.restart(item.reset);
    if (item.token) return progress.complete(item.token);
    if (!progress.admit(item.event)) return undefined;
    const { stream, topic, offset } = item.event;
    assert.ok(!received.has(key(item.event)), `seed ${seed}: ${key(item.event)} came twice`);
    assert.ok(offset > (last[stream + topic] ?? 0), `seed ${seed}: the order of ${topic}`);
    last[stream + topic] = offset;
    return received.add(key(item.event));
  };

  for (let count = 0; count < 12; ++count) {
    const items = connection();
    items.slice(0, pick(items.length + 1)).forEach(receive);
    progress.disconnected();
    publishSome();
    if (pick(6) > 0) continue;
    const broker = brokers[pick(brokers.length)];
    for (const each of published) {
      if (each.startsWith(nameOf(broker)) && !received.has(each)) published.delete(each);
    }
    Object.assign(broker, { life: broker.life + 1, history: [], offsets: {} });
    publishSome();
  }
  connection().forEach(receive);
  assert.deepEqual([...received].sort(), [...published].sort(), `seed ${seed}`);
}

test("a ring discards the oldest", () => {
  const ring = new Ring(3);
  for (const each of [1, 2, 3, 4, 5]) ring.push(each);
  assert.deepEqual([...ring], [3, 4, 5]);
  assert.equal(ring.at(-1), 5);
  assert.equal(ring.at(0), 3);
  assert.equal(ring.at(3), undefined);
  ring.clear();
  assert.deepEqual([...ring], []);
});

test("a ring is also bounded by the sizes of its items", () => {
  const ring = new Ring(1000, 100);
  for (let each = 0; each < 5000; ++each) ring.push({ each, size: 30 });
  assert.deepEqual([...ring].map((item) => item.each), [4997, 4998, 4999]);
  ring.push({ each: 5000, size: 500 });
  assert.deepEqual([...ring].map((item) => item.each), [5000]);
});

test("a rate is that of the last second", () => {
  const meter = new RateMeter();
  for (let now = 0; now < 5000; now += 10) meter.add(now);
  assert.ok(Math.abs(meter.perSecond(5000) - 100) < 1);
  assert.equal(meter.perSecond(9000), 0);
});

test("few events are all drawn, in order", () => {
  const sampler = new Sampler(12);
  for (let each = 0; each < 12; ++each) sampler.add({ kind: "event", each });
  const { items, received } = sampler.take();
  assert.deepEqual(items.map((item) => item.each), [...Array(12).keys()]);
  assert.equal(received, 12);
});

test("of many events an even sample is drawn, in bounded memory", () => {
  const sampler = new Sampler(12);
  for (let each = 0; each < 100_000; ++each) sampler.add({ kind: "event", each });
  const { items, received } = sampler.take();
  assert.equal(received, 100_000);
  assert.ok(items.length <= 13 && items.length >= 10, `${items.length}`);
  assert.ok(items[0].each < 20_000 && items.at(-1).each > 80_000);
  const middle = items[items.length >> 1].each;
  assert.ok(middle > 30_000 && middle < 70_000, `${middle}`);
});

test("the newest event and every gap are drawn", () => {
  const sampler = new Sampler(3);
  for (let each = 0; each < 11; ++each) {
    sampler.add({ kind: "event", each });
    if (each % 5 === 0) sampler.add({ kind: "gap", each });
  }
  const { items } = sampler.take();
  assert.equal(items.filter((item) => item.kind === "gap").length, 3);
  assert.equal(items.filter((item) => item.kind === "event").at(-1).each, 10);
  for (let each = 0; each < 1000; ++each) sampler.add({ kind: "gap", each });
  assert.ok(sampler.take().items.length <= 12, "gaps alone are bounded too");
});

test("numbers are found in objects, in strings and in JSON text", () => {
  const event = { data: { price: 39.8, size: { lots: "12" }, name: "MSFT", "a.b": 1, list: [5] } };
  assert.deepEqual(fieldsOf(event), ["price", "size.lots", "a\u2024b", "list.0"]);
  assert.equal(readField(event, "size.lots"), 12);
  assert.equal(readField(event, "a\u2024b"), 1);
  assert.equal(readField(event, "name"), null);
  assert.equal(readField(event, "no.such"), null);
  assert.deepEqual(fieldsOf({ text: " 21.5 " }), [WHOLE]);
  assert.equal(readField({ text: '{"t":[{"x":-2e3}]}' }, "t.0.x"), -2000);
  assert.deepEqual(fieldsOf({ text: "{broken" }), []);
  assert.deepEqual(fieldsOf({ base64: "AA==" }), []);
  assert.deepEqual(fieldsOf({}), []);
});

test("fields are found in the first events, and are bounded", () => {
  const finder = new FieldFinder();
  assert.equal(finder.look({ data: { a: 1 } }), true);
  assert.equal(finder.look({ data: { a: 2 } }), false);
  assert.deepEqual(finder.fields, ["a"]);
  const many = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`f${index}`, index]));
  assert.equal(fieldsOf({ data: many }).length, 64);
  finder.look({ data: many });
  assert.equal(finder.fields.length, 64);
});

test("a chart keeps the minimum and maximum of each slice of time", () => {
  const chart = new Chart(500);  // slices of one second
  for (const [at, each] of [[10.1, 5], [10.2, 9], [10.3, 1], [10.9, 4], [11.5, 6]]) chart.add("a", at, each);
  assert.deepEqual(chart.tables(), [[[10.2, 10.3, 11.5], [9, 1, 6]]]);
});

test("a gap interrupts the line of its topic, and is marked until the next event", () => {
  const chart = new Chart(500);
  chart.add("a", 10, 1);
  chart.add("b", 10, 1);
  chart.breakAt("a", 20);
  chart.breakAt("a", 21);  // the same one
  assert.deepEqual(chart.marks, [{ topic: "a", from: 10, to: null }]);
  chart.add("a", 30, 2);
  chart.add("b", 30, 2);
  assert.equal(chart.marks[0].to, 30);
  assert.deepEqual(chart.tables()[0][1], [1, null, 2]);
  assert.deepEqual(chart.tables()[1][1], [1, 2]);
  chart.breakAt(null, 40);
  assert.equal(chart.marks.length, 3);
});

test("times of a line rise, even after late events", () => {
  const chart = new Chart(60);
  for (const at of [5, 4, 4, 6, 3, 6, 6.5, 6.2]) chart.add("a", at, at);
  chart.breakAt("a", 7);
  chart.add("a", 2, 1);
  const [[times]] = chart.tables();
  for (let each = 1; each < times.length; ++each) assert.ok(times[each] > times[each - 1]);
});

test("history may be added to a chart after live events, and again", () => {
  const chart = new Chart(60);
  for (const at of [50, 51, 52]) chart.add("a", at, at);
  for (let at = 0; at <= 52; ++at) chart.add("a", at, at);
  const [[times, values]] = chart.tables();
  assert.deepEqual(times, [...Array(53).keys()]);
  assert.deepEqual(values, times);
  assert.equal(chart.newestS, 52);
});

test("history does not end a gap that came after it", () => {
  const chart = new Chart(60);
  chart.add("a", 10, 1);
  chart.breakAt("a", 12);
  chart.add("a", 5, 7);
  chart.add("a", 10, 1);
  assert.equal(chart.marks[0].to, null);
  chart.add("a", 30, 2);
  assert.deepEqual(chart.tables()[0], [[5, 10, 30, 30 + 1e-6], [7, 1, null, 2]]);
});

test("the vertical axis is that of the values in the picture", () => {
  const chart = new Chart(60);
  chart.add("a", 10, 1_000_000);  // before the picture
  chart.add("a", 100, 20);
  chart.add("b", 101, 30);
  assert.deepEqual(chart.extent(60, 120), [20, 30]);
  assert.equal(chart.extent(200, 300), null);
  const [low, high] = axisRange([20, 30]);
  assert.ok(low > 18 && low < 20 && high > 30 && high < 32);
  assert.deepEqual(axisRange([40, 40]), [38, 42]);
  assert.deepEqual(axisRange([0, 0]), [-1, 1]);
  assert.equal(axisRange([0, 10])[0], 0);
  assert.equal(axisRange([-10, 0])[1], 0);
  assert.deepEqual(axisRange(null), [0, 1]);
});

test("few values are drawn as points, and of many those without a neighbour", () => {
  assert.deepEqual(pointsToDraw([undefined, 5, undefined]), [1]);
  assert.deepEqual(pointsToDraw([1, 2, null, 3]), [0, 1, 3]);
  const many = [7, null, ...Array(200).fill(1), null, undefined, 8, undefined];
  assert.deepEqual(pointsToDraw(many), [0, 204]);
  assert.deepEqual(pointsToDraw(Array(200).fill(1)), []);
});

test("figures are stale if updates are missing, or at once if none can come", () => {
  const fresh = new Freshness(2000);
  assert.equal(fresh.staleSince(1e6), null);  // never updated: there is nothing to mark
  fresh.updated(1000, 5_000);
  assert.equal(fresh.staleSince(7000), null);
  assert.equal(fresh.staleSince(7001), 5_000);
  fresh.updated(8000, 12_000);
  fresh.end();
  assert.equal(fresh.staleSince(8001), 12_000);
  fresh.updated(9000, 13_000);
  assert.equal(fresh.staleSince(9001), null);
});

test("figures that come more slowly than expected are not stale in between", () => {
  const slow = new Freshness(2000);
  for (const at of [0, 20_000, 40_000]) slow.updated(at, at);
  assert.equal(slow.staleSince(99_000), null);
  assert.equal(slow.staleSince(101_000), 40_000);
});

test("the list of topics is requested often under load, and less often if it is long", () => {
  assert.equal(listPauseMs(0), 2000);
  assert.equal(listPauseMs(20_000), 2000);
  assert.equal(listPauseMs(100_000), 5000);
  assert.equal(listPauseMs(1_000_000), 10_000);
});

test("a chart's memory and lines are bounded", () => {
  const chart = new Chart(60);
  for (let each = 0; each < 100_000; ++each) chart.add("a", each / 10, each);
  assert.ok(chart.tables()[0][0].length < 1300);
  for (let each = 0; each < LINES_MAX + 5; ++each) chart.add(`t${each}`, 1, 1);
  assert.equal(chart.topics.length, LINES_MAX);
  assert.equal(chart.topicsOmitted, 6);
});

test("topics have rates after two listings", () => {
  const topics = new Topics();
  const list = (now, ...listed) => {
    topics.begin();
    for (const [name, offset] of listed) topics.add({ name, offset, age: 0 });
    topics.end(now);
  };
  list(1000, ["b", 10], ["a", 5]);
  list(3000, ["b", 30], ["a", 5], ["new", 4]);
  assert.deepEqual(topics.list("", "name").map((topic) => [topic.name, topic.rate]), [["a", 0], ["b", 10], ["new", 0]]);
  assert.equal(topics.list("", "rate")[0].name, "b");
  assert.equal(topics.totalRate, 10);
  list(5000, ["b", 6]);  // numbering has started again
  assert.equal(topics.get("b").rate, 3);
  assert.equal(topics.size, 1);
});

test("topics are found by part of their name, and by a pattern", () => {
  const topics = new Topics();
  topics.begin();
  for (const name of ["stock.MSFT", "stock.IBM.close", "weather.stockholm"]) topics.add({ name, offset: 1, age: 0 });
  topics.end(0);
  const found = (text) => topics.list(text, "name").map((topic) => topic.name);
  assert.deepEqual(found("STOCK"), ["stock.IBM.close", "stock.MSFT", "weather.stockholm"]);
  assert.deepEqual(found("stock.*"), ["stock.MSFT"]);
  assert.deepEqual(found("> no pattern"), []);
  assert.equal(topicsPattern("stock"), ">");
  assert.equal(topicsPattern("stock.*"), "stock.*");
  assert.equal(topicsPattern("$SYS.br"), "$SYS.>");
});

test("of too many topics the first are kept, and all are counted", () => {
  const topics = new Topics();
  topics.begin();
  for (let each = 0; each < TOPICS_MAX + 10; ++each) topics.add({ name: `t${each}`, offset: 1, age: 0 });
  topics.end(0);
  assert.equal(topics.size, TOPICS_MAX);
  assert.equal(topics.total, TOPICS_MAX + 10);
});

test("a counter has a rate, except after a reset", () => {
  const figures = new Figures();
  figures.update({ in: "100" }, 0);
  assert.equal(figures.rate("in"), null);
  figures.update({ in: "300" }, 2000);
  assert.equal(figures.rate("in"), 100);
  figures.update({ in: "5" }, 4000);
  assert.equal(figures.rate("in"), null);
});

test("drops have a place and a reason, and are left out at 0", () => {
  const status = new StatusModel();
  status.update({ backplane: "default", broker: true, counters: { "dropped_total.slow_consumer": 7, "dropped_total.client_gone": 0, "lost_total.history_gone": 2 } }, 0);
  assert.ok(status.event({ topic: "$SYS.broker.default.stats", stream: "a", received: "2000-01-01T00:00:00Z",
    data: { backplane: "default", counters: { "rejected_total.bad_topic": "3", lossy_sends_total: "0" } } }));
  assert.deepEqual(status.drops(), [["to clients", "slow_consumer", 7], ["from broker", "history_gone", 2], ["refused", "bad_topic", 3]]);
  assert.equal(status.event({ topic: "$SYS.drain", data: {} }), false);
});

test("a store on disk is shown with its bytes, oldest event, queue and damage; one in memory is not", () => {
  const figures = new Figures();
  figures.update({ "store_info.memory": "1" }, 0);
  assert.deepEqual(storeRows(figures, 0), []);
  figures.update({ "store_info.file.1s": "1", store_bytes: "1610612736", store_bytes_max: "17179869184",
    store_segments: "24", store_oldest_seconds: "1000000", store_queued_bytes: "0" }, 0);
  assert.deepEqual(storeRows(figures, (1_000_000 + 2 * 86_400) * 1000), [["store", "1.5GB of 16.0GB"], ["segments", "24"],
    ["oldest event", "2 d"], ["store sync", "every 1s"], ["store queue", "0B"]]);
  figures.update({ "store_info.file.always": "1", store_damaged_ranges: "2", store_full: "1" }, 0);
  assert.deepEqual(storeRows(figures, 0).slice(2), [["oldest event", "–"], ["store sync", "always"], ["store queue", "0B"],
    ["store damage", "2 places", true], ["store", "full: publishers wait", true]]);
});

test("links are shown with their lag and losses; a broker without links has no rows for them", () => {
  const figures = new Figures();
  figures.update({ links_up: "0", links_down: "0", links_lag_positions: "0", links_lost: "0" }, 0);
  assert.deepEqual(linkRows(figures), []);
  figures.update({ links_up: "2", links_lag_positions: "1234" }, 0);
  assert.deepEqual(linkRows(figures), [["links", "2"], ["lag of links", "1,234 events"]]);
  figures.update({ links_up: "1", links_down: "1", links_lost: "151" }, 0);
  assert.deepEqual(linkRows(figures), [["links", "1 (1 down)"], ["lag of links", "0 events"], ["lost by links", "151", true]]);
});

const stats = (stream, received, counters = {}) => ({ topic: "$SYS.broker.default.stats", stream, received,
  data: { backplane: "default", counters } });

test("two brokers of a list have figures of their own, which become stale on their own", () => {
  const status = new StatusModel();
  const at = (seconds) => new Date(seconds * 1000).toISOString();
  for (const second of [0, 5, 10]) {
    status.event(stats("0000000a00000001", at(second), { received_total: `${second * 100}` }), second * 1000);
    status.event(stats("0000000b00000001", at(second), { received_total: `${second * 7}` }), second * 1000);
  }
  assert.deepEqual(status.labelled().map(([{ figures }, label]) => [label, figures.rate("received_total")]),
    [["default (0000000a)", 100], ["default (0000000b)", 7]]);
  for (const second of [15, 20, 25]) status.event(stats("0000000b00000001", at(second)), second * 1000);
  const stale = () => status.labelled().map(([{ freshness }]) => freshness.staleSince(26_000) !== null);
  assert.deepEqual(stale(), [true, false]);
  status.end();
  assert.deepEqual(stale(), [true, true]);
  status.event(stats("0000000a00000002", at(26)), 26_000);  // a new incarnation takes the place of the old one
  assert.deepEqual(stale(), [false, true]);
});

test("the difference of the clocks is known from live events, not from a retained one", () => {
  const status = new StatusModel();
  const broker = Date.now() - 7_200_000;
  status.event(stats("0000000a00000001", new Date(broker - 4000).toISOString()), 0);
  assert.equal(status.aheadMs, null);
  status.event(stats("0000000a00000001", new Date(broker).toISOString()), 5000);
  assert.ok(Math.abs(status.aheadMs - 7_200_000) < 5000);
});

test("the hash contains what is on screen", () => {
  const state = { requests: [request({ last: true }), request({ pattern: "a&b#c.*", every: "1s" })], tab: 1, view: "chart",
    field: "size.lots", window: 300, find: "über", sort: "rate", place: "status" };
  assert.deepEqual(readHash(writeHash(state)), state);
  assert.ok(writeHash(state).startsWith("#sub=stock.%3E+last&"));
  assert.equal(writeHash(readHash("")), "");
});

test("a hostile hash does no harm", () => {
  const state = readHash("#sub=..&sub=a+nonsense&tab=99&view=x&window=7&sort=1&place=<img>&sub=%ff");
  assert.deepEqual(state.requests.length <= 1, true);
  assert.equal(state.tab, 0);
  assert.equal(state.window, 60);
  assert.equal(state.place, "");
  assert.equal(readHash(`#${"sub=a&".repeat(100)}`).requests.length, SUBSCRIPTIONS_MAX);
});

test("commands subscribe to what is on screen, and quote it", () => {
  const gateway = { host: "host7", port: "1601", origin: "http://host7:1601" };
  const all = request({ pattern: "it's.>", last: true, every: "5s" });
  assert.equal(commandText("nc", all, gateway), `printf '%s\\n' 'SUB it'\\''s.> last every=5s' | nc -N host7 1601`);
  assert.equal(commandText("curl", all, gateway), `curl -N 'http://host7:1601/v1/events?topic=it'\\''s.%3E&last&every=5s'`);
  assert.match(commandText("Python", all, gateway), /Subscriber\("it's.>", egress="tcp:\/\/host7:5571"/);
  assert.match(commandText("C++", all, gateway), /subscribe\("it's.>", \{.last = true, .every = std::chrono::milliseconds\{5000\}\}\)/);
  assert.match(commandText("nc", all, { ...gateway, host: "[::1]" }), /nc -N ::1 1601$/);
  assert.match(commandText("Python", request({ since: "10m", every: "5s" }), gateway),
    /control="tcp:\/\/host7:5572", since="10m", every="5s"\) as subscriber:/);
  assert.equal(omitted("Python", request({ since: "10m", every: "5s" })), "");
  assert.equal(omitted("Python", request({ policy: "latest" })), "Ignores policy, which only gateways have.");
  assert.equal(omitted("C++", request({ since: "10m" })), "Ignores since.");
  assert.match(commandText("C++", all, gateway), /if \(item == nullptr\) continue;/);  // a quiet minute does not end it
  assert.equal(omitted("nc", all), "");
  assert.equal(eventsQuery(request({ since: "a:1,b:2" })), "topic=stock.%3E&since=a%3A1%2Cb%3A2");
  assert.equal(durationMs("250ms"), 250);
  assert.equal(durationMs("soon"), null);
});

test("numbers are short, and gaps are described in words", () => {
  assert.deepEqual([count(1012), count(1_234_567), bytes(2048), rate(0.24), rate(1012)], ["1,012", "1.2M", "2.0kB", "0.2", "1,012"]);
  assert.deepEqual([age(0.2), age(12), age(240), age(7300)], ["now", "12 s", "4 min", "2 h"]);
  assert.equal(gapText({ first: 101, last: 105, reason: "slow_consumer" }), "events 101–105 lost (5): slow consumer");
  assert.equal(gapText({ first: 7, last: 7, reason: "history_gone" }), "event 7 lost (1): history gone");
  assert.equal(gapText({ first: 0, last: 0, reason: "history_gone" }), "events lost: history gone");
  assert.equal(value({ data: { symbol: "MSFT", price: 1 } }), "symbol MSFT  price 1");
  assert.equal(value({}), "(cleared)");
});

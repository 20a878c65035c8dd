// clients/node must agree with the golden bytes: see tests/golden/README.md.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { checkTopic, escape, Event, Gap, message, Pattern, readStamp, Reset, unescape } from "../../clients/node/index.js";
import { decode, encode } from "../../clients/node/lib/proto.js";

const STREAM = 0x0123456789abcdefn;
const STAMP = { stream: STREAM, position: 1000n, offset: 7n, previous: 993n, received_ns: 946684800123456789n };

const read = (name) => readFileSync(new URL(`../golden/${name}`, import.meta.url), "utf8");
const hex = (digits) => Buffer.from(digits.replace(/\s/g, ""), "hex");
const golden = (name) => hex(read(name).replace(/#.*/g, ""));
const cases = (name) =>
  read(name).split("\n").filter((line) => line && !line.startsWith("# ")).map((line) => line.split("\t"));

function accepts(make, bytes) {
  try {
    make(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return true;
  } catch (error) {
    assert.ok(error instanceof RangeError || error instanceof TypeError, error.stack);
    return false;
  }
}

test("stamps", () => {
  assert.deepEqual(readStamp(golden("stamped_event.hex")), STAMP);
  assert.deepEqual(readStamp(golden("stamp_zero.hex")),
    { stream: 0n, position: 0n, offset: 0n, previous: 0n, received_ns: 0n });
  const stamp = golden("stamp.hex");
  for (const event of [hex(""), stamp.subarray(1), golden("event.hex"), Buffer.concat([stamp.subarray(0, 46), hex("0000")]),
    Buffer.concat([hex("7b"), stamp.subarray(1)])]) {
    assert.equal(readStamp(event), null);
  }
});

test("names", () => {
  for (const [topic, pattern, name] of cases("names.tsv")) {
    assert.equal(accepts(checkTopic, hex(name)), topic === "yes", name);
    assert.equal(accepts((text) => new Pattern(text), hex(name)), pattern === "yes", name);
  }
  assert.throws(() => checkTopic("\ud800"), RangeError);
});

test("patterns", () => {
  for (const [text, prefix, topic, matches] of cases("patterns.tsv")) {
    const pattern = new Pattern(text);
    assert.equal(pattern.prefix, prefix, text);
    assert.equal(pattern.matches(topic), matches === "yes", `${text} and ${topic}`);
  }
});

test("escapes", () => {
  for (const [kind, plain, escaped] of cases("escapes.tsv")) {
    assert.deepEqual(unescape(Buffer.from(escaped)), hex(plain));
    assert.equal(escape(hex(plain)).toString() === escaped, kind === "both", escaped);
  }
});

test("events", () => {
  const event = new Event("clock", golden("stamped_event.hex"), STAMP);
  assert.equal(event.body.source, "clock@host7");
  assert.equal(event.body.session, 0x1122334455667788n);
  assert.equal(event.body.sequence, 300n);
  assert.deepEqual(event.body.time, { seconds: 946684800n, nanos: 500000000 });
  assert.equal(event.text, "grüße");
  assert.deepEqual(event.body.attributes, { unit: "°C" });
  assert.deepEqual(event.body.stamp, STAMP);
  assert.equal(event.unpack("backplane.events.v1.Quote"), null);
  const quote = new Event("stock.MSFT", golden("typed_event.hex"), STAMP).unpack("backplane.events.v1.Quote");
  assert.deepEqual(quote, { symbol: "MSFT", price: 39.81, time: { seconds: 946684800n, nanos: 0 } });
  assert.throws(() => new Event("clock", hex("ff"), STAMP));
});

test("JSON.stringify() writes every item", () => {
  const json = (value) => JSON.parse(JSON.stringify(value));
  const event = new Event("clock", golden("stamped_event.hex"), STAMP);
  const head = { topic: "clock", stream: "0123456789abcdef", position: 1000, offset: 7, time: "2000-01-01T00:00:00.500Z",
    received: "2000-01-01T00:00:00.123456789Z", source: "clock@host7", sequence: 300 };
  assert.deepEqual(json(event), { ...head, type: "", attributes: { unit: "°C" }, text: "grüße" });
  assert.deepEqual(json(event.body).time, { seconds: "946684800", nanos: 500000000 });
  assert.deepEqual(json({ at: event.body.time }), { at: { seconds: "946684800", nanos: 500000000 } });
  const quote = new Event("stock.MSFT", golden("typed_event.hex"), STAMP);
  assert.equal(json(quote.unpack("backplane.events.v1.Quote")).time.seconds, "946684800");
  assert.deepEqual(json(quote).data, { symbol: "MSFT", price: 39.81, time: "2000-01-01T00:00:00Z" });
  assert.deepEqual(json(new Gap(STREAM, "clock", 1n, 2n, "history_gone")),
    { gap: { stream: "0123456789abcdef", topic: "clock", first: 1, last: 2, reason: "history_gone" } });
  assert.deepEqual(json(new Reset(1n, 2n)), { reset: { old_stream: "0000000000000001", stream: "0000000000000002" } });
});

test("payloads", () => {
  const quote = new Event("stock.MSFT", golden("typed_event.hex"), STAMP);
  assert.equal(quote.type, "backplane.events.v1.Quote");
  assert.equal(quote.payload.symbol, "MSFT");
  const text = new Event("clock", golden("stamped_event.hex"), STAMP);
  assert.deepEqual([text.type, text.payload, text.timeNs], ["", "grüße", 946684800500000000n]);
  assert.throws(() => message("nobody.Knows", {}), RangeError);
});

test("control messages", () => {
  const replay = { pattern: "stock.>", after_position: { stream: STREAM, position: 993n }, until_position: 1000n };
  assert.deepEqual(Buffer.from(encode("backplane.v1.ControlRequest", { version: 1, id: 300n, replay })),
    golden("replay_request.hex"));
  const admitted = { source: "clock@host7", session: 0x1122334455667788n };
  assert.deepEqual(Buffer.from(encode("backplane.v1.ControlRequest", { version: 1, id: 1, admitted })),
    golden("admitted_request.hex"));
  const reply = decode("backplane.v1.ControlReply", golden("replay_reply.hex"));
  assert.deepEqual([reply.id, reply.position, reply.end], [300n, 1007n, "more"]);
  assert.deepEqual(Buffer.from(reply.more.cursor), hex("01ff"));
  assert.deepEqual(Buffer.from(reply.replay.events[0].event), golden("stamped_event.hex"));
});

test("what a link publishes", () => {
  const bytes = Buffer.concat([golden("passed_event.hex"), golden("stamp.hex")]);
  const event = new Event("clock", bytes, readStamp(bytes));
  assert.deepEqual([event.text, event.body.sequence, event.body.after_sequence, event.body.lost], ["grüße", 2000n, 1994n, 0n]);
  assert.equal(event.body.attributes.origin_source, "clock@host7");
  assert.equal(decode("backplane.v1.Event", golden("lost_events.hex")).lost, 151n);
  const replay = { pattern: "stock.>", after_position: { stream: STREAM, position: 993n }, until_position: 1000n, partial: true };
  assert.deepEqual(Buffer.from(encode("backplane.v1.ControlRequest", { version: 1, id: 300n, replay })),
    golden("partial_request.hex"));
  const [lost] = decode("backplane.v1.ControlReply", golden("upstream_reply.hex")).replay.destroyed;
  assert.deepEqual([lost.topic, lost.first_offset, lost.last_offset, lost.upstream], ["clock", 8n, 158n, true]);
});

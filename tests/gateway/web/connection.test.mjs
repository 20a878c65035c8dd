// The page's Connection and its users, with a socket and a clock that the test controls.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Connection, pauseMs } from "../../../gateway/web/page/connection.js";
import { Publisher } from "../../../gateway/web/page/publisher.js";
import { Watch } from "../../../gateway/web/page/watch.js";
import { Subscription } from "../../../gateway/web/page/subscription.js";

// Sockets that the test opens, uses and closes; timers that run when the test says so.
class Stage {
  sockets = [];
  timers = new Map();
  time = 0;
  #next = 1;

  options = {
    make: (url) => {
      const socket = { url, readyState: 0, sent: [], send: (line) => socket.sent.push(line), close: () => { socket.readyState = 3; } };
      this.sockets.push(socket);
      return socket;
    },
    clock: {
      now: () => this.time,
      after: (ms, run) => { this.timers.set(this.#next, { at: this.time + ms, run }); return this.#next++; },
      cancel: (timer) => this.timers.delete(timer),
    },
  };

  get socket() {
    return this.sockets.at(-1);
  }

  open() {
    this.socket.readyState = 1;
    this.socket.onopen();
  }

  say(...lines) {
    for (const line of lines) this.socket.onmessage({ data: line });
  }

  lose(reason = "") {
    this.socket.readyState = 3;
    this.socket.onclose({ reason });
  }

  pass(ms) {
    const end = this.time + ms;
    for (;;) {
      const due = [...this.timers].filter(([, timer]) => timer.at <= end).sort((a, b) => a[1].at - b[1].at)[0];
      if (!due) break;
      this.timers.delete(due[0]);
      this.time = Math.max(this.time, due[1].at);
      due[1].run();
    }
    this.time = end;
  }
}

const event = (position, more = {}) => JSON.stringify({ topic: "a", stream: "000000010000000a", position, offset: position,
  received: "2000-01-01T00:00:00Z", text: `${position}`, ...more });
const request = { pattern: "a", last: true, every: "", since: "", policy: "" };

test("pauses grow to a limit, and are random", () => {
  assert.deepEqual([1, 2, 3, 9, 50].map((failures) => pauseMs(failures, 1)), [250, 500, 1000, 8000, 8000]);
  assert.equal(pauseMs(1, 0), 125);
});

test("a lost connection is made again, and the state says when", () => {
  const stage = new Stage();
  const states = [];
  new Connection("ws://x", { state: (state, detail) => states.push([state, detail.reason]) }, stage.options);
  stage.open();
  stage.say('{"bye":"drain"}');
  stage.lose();
  assert.deepEqual(states, [["connecting", undefined], ["open", undefined], ["away", "drain"]]);
  stage.pass(250);
  assert.equal(stage.sockets.length, 2);
});

test("a silent gateway is pinged, and then counts as lost", () => {
  const stage = new Stage();
  const states = [];
  new Connection("ws://x", { state: (state) => states.push(state) }, stage.options);
  stage.open();
  stage.pass(16_000);
  assert.deepEqual(stage.socket.sent, ["PING"]);
  stage.say("+PONG");
  stage.pass(16_000);
  assert.equal(states.at(-1), "open");
  stage.pass(30_000);
  assert.ok(states.includes("away"));
});

test("a connection that never opens is retried", () => {
  const stage = new Stage();
  new Connection("ws://x", {}, stage.options);
  stage.pass(10_300);
  assert.equal(stage.sockets.length, 2);
});

test("a closed connection stays closed", () => {
  const stage = new Stage();
  const connection = new Connection("ws://x", {}, stage.options);
  stage.open();
  connection.close();
  connection.retryNow();
  stage.pass(60_000);
  assert.equal(stage.sockets.length, 1);
  assert.equal(connection.send("PING"), false);
});

test("a subscription resumes where the gateway says that nothing is missing, and shows no event twice", () => {
  const stage = new Stage();
  const subscription = new Subscription("ws://x", request, () => {}, stage.options);
  stage.open();
  assert.deepEqual(stage.socket.sent, ["SUB a last"]);
  stage.say("+OK SUB a");
  assert.equal(stage.socket.sent.at(-1), "POSITION");
  stage.say(event(7), "+OK POSITION 000000010000000a:7", event(8));
  assert.equal(subscription.state, "live");
  stage.lose();
  assert.equal(subscription.state, "away");
  stage.pass(250);
  stage.open();
  assert.deepEqual(stage.socket.sent, ["SUB a since=000000010000000a:7"]);
  stage.say("+OK SUB a", event(8), '{"gap":{"topic":"a","stream":"000000010000000a","first":9,"last":11,"reason":"history_gone"}}', event(12));
  const rows = subscription.takeRows();
  assert.deepEqual(rows.map((row) => row.kind), ["event", "event", "note", "note", "gap", "event"]);
  assert.deepEqual([subscription.received, subscription.gaps, subscription.lost], [3, 1, 3]);
});

test("the position is requested once a second while events arrive, and seldom otherwise", () => {
  const stage = new Stage();
  new Subscription("ws://x", request, () => {}, stage.options);
  const count = () => stage.socket.sent.filter((line) => line === "POSITION").length;
  stage.open();
  stage.say("+OK SUB a");
  stage.pass(5000);
  stage.say(event(1));
  assert.equal(count(), 1, "the gateway has not replied yet");
  stage.say("+OK POSITION", event(2), event(3));
  assert.equal(count(), 2, "the second reply confirms the first");
  stage.say("+OK POSITION", event(4));
  assert.equal(count(), 2);
  stage.pass(1000);
  stage.say(event(5), event(6), "+OK POSITION 000000010000000a:6");
  assert.equal(count(), 3);
  stage.pass(10_000);
  assert.equal(count(), 4);
});

test("a position counts when the gaps that may follow it have arrived", () => {
  const stage = new Stage();
  const gap = (topic) => `{"gap":{"topic":"${topic}","stream":"000000010000000a","first":1,"last":2,"reason":"slow_consumer"}}`;
  const subscription = new Subscription("ws://x", request, () => {}, stage.options);
  stage.open();
  stage.say("+OK SUB a", "+OK POSITION 000000010000000a:7", gap("a"), gap("b"));
  assert.equal(subscription.token, "");
  stage.say(event(8));
  assert.equal(subscription.token, "000000010000000a:7");
});

test("a gateway that does not know positions is read as well", () => {
  const stage = new Stage();
  const subscription = new Subscription("ws://x", { ...request, last: false }, () => {}, stage.options);
  stage.open();
  stage.say("+OK SUB a", "-ERR unknown_command expected one of SUB, …", event(1));
  assert.equal(subscription.state, "live");
  stage.pass(2000);
  stage.lose();
  stage.pass(250);
  stage.open();
  assert.deepEqual(stage.socket.sent, ["SUB a since=3250ms"]);
});

test("rows show that the broker went away and came back", () => {
  const stage = new Stage();
  const subscription = new Subscription("ws://x", request, () => {}, stage.options);
  stage.open();
  stage.say("+OK SUB a", '{"wait":"broker"}');
  assert.equal(subscription.state, "waiting");
  stage.say('{"live":"broker"}', '{"reset":{"topic":"a","stream":"000000010000000b"}}');
  assert.equal(subscription.state, "live");
  assert.equal(subscription.resets, 1);
  assert.deepEqual(subscription.takeRows().map((row) => row.kind), ["note", "note", "reset"]);
});

test("a refused subscription is not retried", () => {
  const stage = new Stage();
  const subscription = new Subscription("ws://x", { ...request, every: "soon" }, () => {}, stage.options);
  stage.open();
  stage.say('-ERR bad_every expected a duration, got "soon"');
  assert.equal(subscription.state, "refused");
  assert.equal(subscription.problem, 'expected a duration, got "soon"');
  stage.pass(60_000);
  assert.equal(stage.sockets.length, 1);
});

test("a chart starts with the events that are still known, and gaps interrupt it", () => {
  const stage = new Stage();
  const subscription = new Subscription("ws://x", request, () => {}, stage.options);
  stage.open();
  stage.say("+OK SUB a", event(1, { received: "2000-01-01T00:00:00Z" }));
  subscription.plot("(value)", 60);
  stage.say('{"gap":{"topic":"a","stream":"x","first":2,"last":3,"reason":"slow_consumer"}}',
    event(4, { received: "2000-01-01T00:00:05Z" }));
  assert.deepEqual(subscription.chart.tables()[0][1], [1, null, 4]);
});

test("a chart is filled from history, over a connection that closes when it has caught up", () => {
  const stage = new Stage();
  const subscription = new Subscription("ws://x", request, () => {}, stage.options);
  stage.open();
  const [main] = stage.sockets;
  stage.say("+OK SUB a", event(9, { received: "2000-01-01T00:00:09Z" }));
  subscription.plot("(value)", 60);
  stage.pass(100);
  assert.equal(stage.sockets.length, 2);
  stage.open();
  assert.deepEqual(stage.socket.sent, ["SUB a since=60s"]);
  stage.say("+OK SUB a", event(7, { received: "2000-01-01T00:00:07Z" }), event(8, { received: "2000-01-01T00:00:08Z" }));
  assert.equal(stage.socket.readyState, 1);
  stage.say(event(9, { received: "2000-01-01T00:00:09Z" }));  // it has this one already
  assert.equal(stage.socket.readyState, 3);
  assert.deepEqual(subscription.chart.tables()[0][1], [7, 8, 9]);
  assert.deepEqual([subscription.received, subscription.takeRows().length], [1, 1]);  // history is not a row
  assert.equal(main.readyState, 1);
});

test("with two brokers, history is read until it has caught up with both", () => {
  const stage = new Stage();
  const subscription = new Subscription("ws://x", request, () => {}, stage.options);
  stage.open();
  stage.say("+OK SUB a", event(9), event(5, { stream: "000000020000000a" }));
  subscription.plot("(value)", 60);
  stage.pass(100);
  stage.open();
  stage.say("+OK SUB a", event(8), event(9));
  assert.equal(stage.socket.readyState, 1);
  stage.say(event(5, { stream: "000000020000000a" }));
  assert.equal(stage.socket.readyState, 3);
});

test("history without live events ends when nothing more comes", () => {
  const stage = new Stage();
  const subscription = new Subscription("ws://x", request, () => {}, stage.options);
  stage.open();
  stage.say("+OK SUB a");
  subscription.plot("", 300);  // no field is known yet
  stage.pass(100);
  stage.open();
  stage.say("+OK SUB a", event(1));
  assert.deepEqual(subscription.fields, ["(value)"]);
  stage.pass(2000);
  assert.equal(stage.socket.readyState, 3);
  subscription.plot("(value)", 300);
  subscription.plot("", 0);  // another tab is shown: nothing is read
  stage.pass(1000);
  assert.equal(stage.sockets.length, 2);
});

test("history is read again after the gateway was away", () => {
  const stage = new Stage();
  const subscription = new Subscription("ws://x", request, () => {}, stage.options);
  subscription.plot("(value)", 60);
  stage.pass(100);
  const [main, history] = stage.sockets;
  history.onclose({ reason: "" });
  main.readyState = 1;
  main.onopen();
  main.onmessage({ data: "+OK SUB a" });
  stage.pass(100);
  assert.equal(stage.sockets.length, 3);
  subscription.close();
  stage.pass(60_000);
  assert.equal(stage.sockets.length, 3);
});

test("of an event that is too large, only its size is kept", () => {
  const stage = new Stage();
  const subscription = new Subscription("ws://x", request, () => {}, stage.options);
  stage.open();
  stage.say("+OK SUB a", event(1, { text: "x".repeat(100_000) }), event(2));
  const [large, small] = subscription.takeRows();
  assert.match(large.event.text, /^\(97\.8kB: too large/);
  assert.equal(small.event.text, "2");
});

test("publishing resolves with the broker's reply, one event at a time", async () => {
  const stage = new Stage();
  const publisher = new Publisher("ws://x", stage.options);
  const answer = publisher.publish("news.uk", "two\nlines");
  assert.equal(publisher.busy, true);
  stage.open();
  assert.deepEqual(stage.socket.sent, ["PUB news.uk two\\nlines"]);
  stage.say("+OK PUB news.uk");
  assert.equal((await answer).ok, true);
  const refused = publisher.publish("news.uk", "x");
  stage.say("-ERR unavailable no broker");
  assert.deepEqual(await refused, { ok: false, text: "unavailable: no broker" });
});

test("an event whose connection is lost may have been published, and is not sent again", async () => {
  const stage = new Stage();
  const publisher = new Publisher("ws://x", stage.options);
  const answer = publisher.publish("a", "x");
  stage.open();
  stage.lose();
  assert.match((await answer).text, /may have been published/);
  stage.pass(1000);
  stage.open();
  assert.deepEqual(stage.socket.sent, []);
});

test("an invalid topic is not published to", async () => {
  const stage = new Stage();
  const publisher = new Publisher("ws://x", stage.options);
  for (const topic of ["", "a..b", "a.*", "$SYS.x"]) assert.equal((await publisher.publish(topic, "x")).ok, false);
  assert.equal(stage.sockets.length, 0);
});

test("what a broker reported is stale at once when it is gone, and the list is requested again when it is back", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  globalThis.document = { hidden: false };
  const stage = new Stage();
  const watch = new Watch("ws://x", { changed: () => {}, topics: () => {}, value: () => {} }, stage.options);
  stage.open();
  const lists = () => stage.sockets.flatMap((socket) => socket.sent).filter((line) => line === "TOPICS >").length;
  assert.equal(lists(), 1);
  stage.say("+OK SUB $SYS.source.>", "+TOPIC a 1 1 0", "+OK TOPICS");
  assert.equal(watch.freshness.staleSince(performance.now()), null);
  context.mock.timers.tick(2000);
  assert.equal(lists(), 2);
  stage.say('{"wait":"broker"}');
  assert.notEqual(watch.freshness.staleSince(performance.now()), null);
  assert.notEqual(watch.staleSince(performance.now()), null);
  stage.say("-ERR unavailable no broker", '{"live":"broker"}');
  assert.equal(lists(), 3);
  stage.say("+TOPIC a 1 1 0", "+OK TOPICS");
  assert.equal(watch.staleSince(performance.now()), null);
  stage.lose();
  assert.notEqual(watch.staleSince(performance.now()), null);
});

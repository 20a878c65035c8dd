// Runs the Node client for client_scenarios.py, as python_driver.py does for Python.

import * as backplane from "../../clients/node/index.js";
import { BrokerReader } from "../../clients/node/lib/broker_reader.js";
import { serve } from "./command_loop.mjs";

const QUOTE = "backplane.events.v1.Quote";
const [ingress, egress, control] = process.argv.slice(2).map((each) => each.split(",")); // one per broker
const opened = {};
const ms = (seconds) => seconds * 1000;
const keyFiles = ({ key_file: keyFile, server_key_file: serverKeyFile } = {}) => ({ keyFile, serverKeyFile });

function show(item) {
  if (item === null) return null;
  if (item instanceof backplane.Gap) return ["gap", item.topic, Number(item.first), Number(item.last), item.reason];
  if (item instanceof backplane.Reset) {
    return ["reset", ...[item.oldStream, item.newStream].map((stream) => stream.toString(16).padStart(16, "0"))];
  }
  const { payload: kind = "none", binary } = item.body;
  const quote = item.unpack(QUOTE);
  const shown = quote ? ["quote", quote.symbol, quote.price]
    : [kind, kind === "binary" ? binary.toString("hex") : item.text];
  return ["event", item.topic, Number(item.stamp.offset), shown];
}

const payloadOf = ([kind, ...values]) => ({
  text: (text) => text, binary: (hex) => Buffer.from(hex, "hex"), none: () => null,
  quote: (symbol, price) => backplane.message(QUOTE, { symbol, price }),
})[kind](...values);

const commands = {
  // `options`: last, since, since_time (Unix, seconds), every (seconds), name, key_file, server_key_file.
  async subscribe(patterns, timeout, { last, since, since_time: time, every, name, ...keys } = {}) {
    const interval = typeof every === "number" ? ms(every) : every;
    const begin = time === undefined ? since : new Date(ms(time));
    opened.subscriber = new backplane.Subscriber(patterns,
      { egress, control, last, since: begin, every: interval, name, ...keyFiles(keys) });
    await opened.subscriber.waitLive({ timeout: ms(timeout) });
  },
  wait_live: (timeout) => opened.subscriber.waitLive({ timeout: ms(timeout) }),
  async receive(count, timeout) {
    const items = [];
    while (items.length < count) items.push(show(await opened.subscriber.receive({ timeout: ms(timeout) })));
    return items;
  },
  async receive_json(count, timeout) {
    const items = [];
    while (items.length < count) items.push(await opened.subscriber.receive({ timeout: ms(timeout) }));
    return items; // as JSON.stringify() writes them
  },
  async receive_flags(count, timeout) { // the topic of each event, whether it is from history, and whether it is late
    const items = [];
    while (items.length < count) items.push(await opened.subscriber.receive({ timeout: ms(timeout) }));
    return items.map(({ topic, fromHistory, late }) => [topic, fromHistory, late]);
  },
  async receive_field(typeName, field, timeout) { // the type of the next event's payload, and a field of it
    const event = await opened.subscriber.receive({ timeout: ms(timeout) });
    return [event.type, event.payload[field], event.unpack(typeName)[field],
      event.unpack("backplane.events.v1.Quote") === null];
  },
  limit_received(messages) { // of subscribers: in libzmq's queue
    BrokerReader.receivedMax = messages;
  },
  resume_token: () => opened.subscriber.resumeToken(),
  close_subscriber: () => opened.subscriber.close(),
  subscriber_status() {
    const { recovered, duplicates, undecodable, live } = opened.subscriber;
    return { recovered, duplicates, undecodable, live };
  },
  open_publisher(source, eventBytesMax, keys) {
    opened.publisher = new backplane.Publisher(source, { ingress, control, eventBytesMax, ...keyFiles(keys) });
  },
  last_problem: () => (opened.publisher ?? opened.subscriber).lastProblem,
  wait_ready: (timeout) => opened.publisher.waitReady({ timeout: ms(timeout) }),
  publish: (topic, payload, attributes, timeNs) =>
    opened.publisher.publish(topic, payloadOf(payload), { attributes, timeNs: BigInt(timeNs) }),
  publish_message: (topic, typeName, fields) => opened.publisher.publish(topic, backplane.message(typeName, fields)),
  publish_quote: (topic, symbol, price) => opened.publisher.publish(topic, backplane.message(QUOTE, { symbol, price })),
  close_publisher: () => opened.publisher.close(),
  async burst(topic, count, size) {
    // Does not wait between events: the publisher queues them.
    await Promise.all(Array.from({ length: count },
      (_, number) => opened.publisher.publish(topic, String(number + 1).padStart(size, "."))));
  },
  flush: (timeout) => opened.publisher.flush({ timeout: ms(timeout) }),
  publisher_status() {
    const { offered, confirmed, refused, resent, inDoubt } = opened.publisher;
    return { offered, confirmed, refused, resent, in_doubt: inDoubt };
  },
  open_control(keys) {
    opened.control = new backplane.Control(control[0], keyFiles(keys));
  },
  last: async (pattern, timeout) => (await opened.control.last(pattern, { timeout: ms(timeout) })).map(show),
  last_json: (pattern, timeout) => opened.control.last(pattern, { timeout: ms(timeout) }),
  async replay(pattern, { after_offset: afterOffset, since_ns: sinceNs, since_ago: ago }, timeout) {
    const items = [];
    const sinceAgo = ago === undefined ? undefined : ms(ago);
    for await (const event of opened.control.replay(pattern, { afterOffset, sinceNs, sinceAgo, timeout: ms(timeout) })) {
      items.push(show(event));
    }
    return items;
  },
  async register(typeName, file) {
    if (file) backplane.loadTypes(file);
    await opened.control.register([typeName], { timeout: 30_000 });
  },
  async close() {
    opened.subscriber?.close();
    opened.control?.close();
    await opened.publisher?.close();
  },
};

function kindOf(error) {
  if (error instanceof backplane.HistoryGone) return "gone";
  if (error instanceof backplane.Refused) return "refused";
  if (error instanceof backplane.TimeoutError) return "timeout";
  if (error instanceof backplane.AuthenticationError) return "authentication";
  if (error instanceof backplane.ControlError) return "control";
  if (error instanceof RangeError) return "invalid";
  return error.code === "EINVAL" ? "endpoint" : `${error.name} ${error.stack}`;
}

function valueOf(error) {
  const hasCode = error instanceof backplane.AuthenticationError || error instanceof backplane.ControlError;
  return hasCode ? error.code : Number(error.firstAvailableOffset ?? 0);
}

await serve(commands, (error) => (
  { error: kindOf(error), text: error.message, value: valueOf(error) }));

// The Node libraries as processes, for fault tests: as library_driver.cpp is for C++.

import { writeSync } from "node:fs";
import * as backplane from "../../clients/node/index.js";

const FLUSH_LIMIT_MS = 30_000;
const hex = (stream) => stream.toString(16).padStart(16, "0");
const say = (fields) => writeSync(1, `${JSON.stringify(fields)}\n`);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
const evens = (list) => list.filter((_, at) => at % 2 === 0);
const odds = (list) => list.filter((_, at) => at % 2 === 1);

function record(item) {
  if (item instanceof backplane.Reset) return { reset: { old: hex(item.oldStream), stream: hex(item.newStream) } };
  if (item instanceof backplane.Gap) {
    const { topic, stream, first, last, reason } = item;
    return { gap: { topic, stream: hex(stream), first: Number(first), last: Number(last), reason } };
  }
  const { topic, text, stamp: { stream, position, offset } } = item;
  return { topic, stream: hex(stream), position: Number(position), offset: Number(offset), text };
}

async function subscribe(paceUs, ...args) {
  const at = args.indexOf("--");
  const [endpoints, patterns] = [args.slice(0, at), args.slice(at + 1)];
  const subscriber = new backplane.Subscriber(patterns, { egress: evens(endpoints), control: odds(endpoints) });
  let running = true;
  process.on("SIGTERM", () => { running = false; });
  while (running) {
    const item = await subscriber.receive({ timeout: 200 });
    if (item) say(record(item));
    if (item instanceof backplane.Event && paceUs !== "0") await sleep(paceUs / 1000);
  }
  say({ recovered: subscriber.recovered });
  subscriber.close();
}

async function publish(name, topics, rate, padding, ...endpoints) {
  const publisher = new backplane.Publisher(name, { ingress: evens(endpoints), control: odds(endpoints) });
  let running = true;
  process.stdin.on("end", () => { running = false; }).resume();
  const begun = performance.now();
  while (running) {
    const number = publisher.offered + 1;
    await sleep(begun + (number * 1000) / rate - performance.now());
    if (!running) break;
    try {
      await publisher.publish(`load.${name}.${number % topics}`, `${name} ${number}${".".repeat(padding)}`);
    } catch (error) {
      if (!(error instanceof backplane.TimeoutError)) throw error; // no room: nothing was kept
    }
  }
  let flushed = false;
  try {
    await publisher.flush({ timeout: FLUSH_LIMIT_MS });
    flushed = true;
  } catch (error) {
    console.error(error.message);
  }
  const { offered, confirmed, refused, inDoubt } = publisher;
  say({ offered, confirmed, refused, in_doubt: inDoubt, flushed });
  process.exit(0); // whatever is unconfirmed
}

const [command, ...args] = process.argv.slice(2);
await { subscribe, publish }[command](...args);

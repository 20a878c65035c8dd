// Reads events over ZeroMQ without our module and without protobuf (npm install zeromq). Does not notice lost events.

import { randomBytes } from "node:crypto";
import { XSubscriber } from "zeromq";

const host = process.argv[2] ?? "127.0.0.1";
const live = `$SYS.live.${randomBytes(8).toString("hex")}`;
const subscriber = new XSubscriber({ sendHighWaterMark: 0 }); // Subscriber does not have this option
subscriber.connect(`tcp://${host}:5571`);
for (const prefix of ["stock.", live]) await subscriber.send(`\x01${prefix}`); // byte 1 subscribes, byte 0 unsubscribes

for await (const [topic, body] of subscriber) {
  if (topic.toString() === live) console.log("subscribed");
  else console.log(topic.toString(), body.readBigUInt64LE(body.length - 47 + 21).toString());
}

// Backplane from Node: subscribe, publish, read last values and history.
//
//   import { Control, Event, Gap, Publisher, Reset, Subscriber } from "backplane";
//
// Every call that waits takes a `timeout`, in milliseconds. All 64-bit numbers are BigInt. Fields have the names in
// proto/ (see docs/any-language.md).

export { Control, ControlError, DEFAULT_CONTROL, HistoryGone, TimeoutError } from "./lib/control.js";
export { AuthenticationError } from "./lib/handshake.js";
export { loadTypes, message } from "./lib/proto.js";
export { DEFAULT_INGRESS, Publisher, Refused } from "./lib/publisher.js";
export { DEFAULT_EGRESS, Subscriber } from "./lib/subscriber.js";
export { escape, unescape } from "./lib/text.js";
export { checkTopic, Pattern } from "./lib/topic.js";
export { Event, Gap, readStamp, Reset } from "./lib/wire.js";

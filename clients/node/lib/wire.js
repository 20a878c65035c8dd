// What a subscriber returns: events with the broker's stamp, gaps and resets.

import { decode, forJson, isKnownType, jsonOfAny, typeOf } from "./proto.js";

export const STAMP_BYTES = 47;
const HEAD = [0x7a, 0x2d]; // field 15 with 45 bytes
const TAGS = [0x09, 0x11, 0x19, 0x21, 0x29];

/** Reads the stamp from the end of an event's bytes (a Buffer), without parsing them. null if there is no stamp.
 * stream: which broker and backplane (upper 32 bits), and which incarnation; position: 1, 2, 3, … in the stream, over all
 * topics; offset: 1, 2, 3, … in the topic (0: not numbered); previous: position of the topic's previous event (0 for its
 * first); received_ns: Unix time at the broker, in nanoseconds. */
export function readStamp(event) {
  const begin = event.length - STAMP_BYTES;
  if (begin < 0 || HEAD.some((byte, at) => event[begin + at] !== byte)) return null;
  const at = (field) => begin + HEAD.length + 9 * field;
  if (TAGS.some((tag, field) => event[at(field)] !== tag)) return null;
  const [stream, position, offset, previous] = [0, 1, 2, 3].map((field) => event.readBigUInt64LE(at(field) + 1));
  return forJson({ stream, position, offset, previous, received_ns: event.readBigInt64LE(at(4) + 1) });
}

const hex = (stream) => stream.toString(16).padStart(16, "0");

const NS = 1_000_000_000n;
const SECONDS_MAX = (1n << 63n) / NS - 1n;

/** As the gateway writes it: UTC, with no more digits than needed. */
function timeText(unixNs) {
  const nanos = ((unixNs % NS) + NS) % NS;
  const text = new Date(Number((unixNs - nanos) / 1_000_000n)).toISOString().slice(0, 19);
  const digits = nanos.toString().padStart(9, "0").replace(/^(...)(...)000$/, "$1$2").replace(/^(...)000$/, "$1");
  return nanos === 0n ? `${text}Z` : `${text}.${digits}Z`;
}

/** One event: its topic, the event itself (`body`: source, sequence, time, payload, attributes, …) and its stamp. */
export class Event {
  /** Throws if `bytes` are not an event. `fromHistory`: a retained value, or from the history that `since` put first.
   * `late`: events of the stream with higher positions, of other topics, have come before it. */
  constructor(topic, bytes, stamp, { fromHistory = false, late = false } = {}) {
    this.topic = topic;
    this.body = decode("backplane.v1.Event", bytes);
    this.stamp = stamp;
    this.fromHistory = fromHistory;
    this.late = late;
  }

  /** The payload if it is text, else "". */
  get text() {
    return this.body.text ?? "";
  }

  /** The full name of the payload's type if it is a message, such as "backplane.events.v1.Quote", else "". */
  get type() {
    return this.body.message ? typeOf(this.body.message) : "";
  }

  /** Text, bytes (a Buffer), the fields of a message, or null if the event clears the topic's retained value. A message
   * whose type is not known, or whose bytes are not of that type, is { type_url, value }. */
  get payload() {
    const { payload: kind, [kind]: value = null } = this.body;
    if (kind !== "message") return value;
    try {
      return isKnownType(this.type) ? decode(this.type, value.value) : value;
    } catch {
      return value;
    }
  }

  /** The fields of the payload if it is a message of this type, else null. Throws if its bytes are not of that type. */
  unpack(typeName) {
    const any = this.body.message;
    return any && typeOf(any) === typeName ? decode(typeName, any.value) : null;
  }

  /** When the event happened according to its publisher, in Unix nanoseconds (a BigInt); null if that is not given, or
   * before 1678 or after 2261. */
  get timeNs() {
    const { seconds, nanos } = this.body.time ?? { nanos: -1 };
    if (nanos < 0 || nanos >= 1e9 || seconds > SECONDS_MAX || seconds < -SECONDS_MAX) return null;
    return seconds * NS + BigInt(nanos);
  }

  /** The event as the gateway writes it in JSON, for JSON.stringify(): topic, stream (16 hex digits), position, offset, time
   * (null if the publisher gave none), received, source, sequence, type; attributes if there are any; and one of data (a
   * message), text and base64, or none of them if the payload is null. A message whose type is not known is { "@type",
   * value (base64) }. Numbers above 2^53 are not exact. */
  toJSON() {
    const { topic, body, stamp, timeNs } = this;
    const shown = {
      topic, stream: hex(stamp.stream), position: Number(stamp.position), offset: Number(stamp.offset),
      time: timeNs === null ? null : timeText(timeNs), received: timeText(stamp.received_ns),
      source: body.source, sequence: Number(body.sequence), type: this.type,
    };
    if (this.late) shown.late = true;
    if (Object.keys(body.attributes).length > 0) shown.attributes = { ...body.attributes };
    if (body.payload === "message") shown.data = jsonOfAny(body.message);
    else if (body.payload === "text") shown.text = body.text;
    else if (body.payload === "binary") shown.base64 = Buffer.from(body.binary).toString("base64");
    return shown;
  }
}

/** Events of one topic that are lost to this reader: the offsets from `first` to `last`. `first` is 0n if it is unknown
 * because history does not reach back to where reading began. If history that a pattern with wildcards was to begin with is
 * gone, `topic` is the pattern and both offsets are 0n. */
export class Gap {
  constructor(stream, topic, first, last, reason) {
    Object.assign(this, { stream, topic, first, last, reason });
  }

  /** As the gateway writes it in JSON. */
  toJSON() {
    const { topic, stream, first, last, reason } = this;
    return { gap: { topic, stream: hex(stream), first: Number(first), last: Number(last), reason } };
  }
}

/** The broker came back without its history, or another broker took over. Numbering restarted. An unknown number of
 * events at the end of the old stream may be lost. Both streams are equal if the position or offset to continue from is one
 * that the stream has not reached. */
export class Reset {
  constructor(oldStream, newStream) {
    Object.assign(this, { oldStream, newStream });
  }

  /** As the gateway writes it in JSON, with the old stream instead of a topic. */
  toJSON() {
    return { reset: { old_stream: hex(this.oldStream), stream: hex(this.newStream) } };
  }
}

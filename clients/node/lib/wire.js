// What a subscriber returns: events with the broker's stamp, gaps and resets.

import { decode, forJson, plain, typeOf } from "./proto.js";

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

/** One event: its topic, the event itself (`body`: source, sequence, time, payload, attributes, …) and its stamp. */
export class Event {
  /** Throws if `bytes` are not an event. */
  constructor(topic, bytes, stamp) {
    this.topic = topic;
    this.body = decode("backplane.v1.Event", bytes);
    this.stamp = stamp;
  }

  /** The payload if it is text, else "". */
  get text() {
    return this.body.text ?? "";
  }

  /** The fields of the payload if it is a message of this type, else null. */
  unpack(typeName) {
    const any = this.body.message;
    return any && typeOf(any) === typeName ? decode(typeName, any.value) : null;
  }

  /** For JSON.stringify(): 64-bit numbers are strings, streams 16 hex digits, bytes base64. */
  toJSON() {
    const { topic, body, stamp } = this;
    return { topic, body: plain(body), stamp: { ...plain(stamp), stream: hex(stamp.stream) } };
  }
}

/** Events of one topic that are lost to this reader: the offsets from `first` to `last`. `first` is 0n if it is unknown
 * because history does not reach back to where reading began. */
export class Gap {
  constructor(stream, topic, first, last, reason) {
    Object.assign(this, { stream, topic, first, last, reason });
  }

  toJSON() {
    return { ...plain({ ...this }), stream: hex(this.stream) };
  }
}

/** The broker came back without its history, or another broker took over. Numbering restarted. An unknown number of
 * events at the end of the old stream may be lost. */
export class Reset {
  constructor(oldStream, newStream) {
    Object.assign(this, { oldStream, newStream });
  }

  toJSON() {
    return { oldStream: hex(this.oldStream), newStream: hex(this.newStream) };
  }
}

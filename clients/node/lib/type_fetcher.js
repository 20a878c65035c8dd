// Definitions of types that arrive and are not known.

import { addTypes, filesOf, isKnownType } from "./proto.js";
import { now } from "./time.js";
import { Event } from "./wire.js";

const WAIT_MS = 1000; // how long an event waits for the definition of its type
const RETRY_MS = 10_000; // from one request for a type to the next: somebody may have registered it
const NAMES_MAX = 4096; // remembered types that nobody has registered
const LOOKAHEAD = 256; // events whose types are requested together
const NAME = /^[A-Za-z0-9_.]{1,511}$/;

/** The types of these events' payloads that are not known. */
export function namesToFetch(events) {
  const names = new Set(events.map((item) => (item instanceof Event ? item.type : "")));
  return [...names].filter((name) => NAME.test(name) && !isKnownType(name));
}

/** Adds the definitions in replies (bytes) to a request for types. */
export function learn(replies) {
  try {
    addTypes(...replies.map(filesOf));
  } catch {
    // their payloads are shown as bytes
  }
}

/** Requests the definitions of types that are not known from a broker. */
export class TypeFetcher {
  #channel;
  #asked = new Map(); // types that nobody has registered: when that was found out
  #pending = new Set();
  #deadline = Infinity; // of those
  #request = 0;

  /** `channel` returns the connection to use, or undefined. */
  constructor(channel) {
    this.#channel = channel;
  }

  /** Whether the event waits for the definition of its type: for a second at most. Requests the definition if necessary,
   * with those of the items that follow `items[at]`, which is the event. */
  holds(items, at) {
    const name = items[at].type;
    if (!name || isKnownType(name)) return false;
    const time = now();
    if (this.#pending.has(name)) {
      if (time < this.#deadline) return true;
      this.#end(time);
    }
    const mayAsk = (each) => time >= (this.#asked.get(each) ?? -Infinity) + RETRY_MS;
    if (!mayAsk(name) || this.#pending.size > 0) return false;
    const channel = this.#channel();
    const names = namesToFetch(items.slice(at, at + LOOKAHEAD)).filter(mayAsk);
    if (!channel || !names.includes(name)) {
      this.#remember([name], time);
      return false;
    }
    this.#pending = new Set(names);
    this.#deadline = time + WAIT_MS;
    this.#send(channel, ++this.#request, names);
    return true;
  }

  /** When an event stops waiting. */
  due() {
    return this.#deadline;
  }

  #send(channel, number, names, cursor = Buffer.alloc(0), replies = []) {
    channel.request({ types: { names, cursor } }, WAIT_MS, (reply, bytes) => {
      if (reply?.end === "complete" || reply?.end === "more") {
        replies.push(bytes);
        if (reply.end === "more" && !cursor.equals(reply.more.cursor)) {
          this.#send(channel, number, names, Buffer.from(reply.more.cursor), replies);
          return;
        }
        learn(replies); // also after the second
      }
      if (number === this.#request) this.#end(now());
    });
  }

  #end(time) {
    this.#remember([...this.#pending].filter((name) => !isKnownType(name)), time);
    this.#pending = new Set();
    this.#deadline = Infinity;
  }

  #remember(names, time) {
    for (const name of names) {
      this.#asked.delete(name);
      this.#asked.set(name, time);
      if (this.#asked.size > NAMES_MAX) this.#asked.delete(this.#asked.keys().next().value);
    }
  }
}

// How far a subscription has come, and where it resumes after a lost connection. The same as ReaderProgress in
// follower/order/reader_progress.hpp, which explains why events alone do not show where to resume.

const STREAMS_MAX = 64;  // as many as a resume token may have
const MARGIN_MS = 1000;  // a request takes time: added to a period of history when it is requested again

const originOf = (stream) => stream.slice(0, 8);

export class ReaderProgress {
  #streams = new Map();  // by stream (16 hex digits): { complete: position or null, topics, beforeConnection }

  // An event has arrived. @returns false if it had arrived before, and must be ignored.
  admit({ topic, stream, position, offset }) {
    const { topics } = this.#at(stream);
    if (!offset) return true;  // not numbered
    const known = topics.get(topic);
    if (known && offset <= known.offset) return false;
    topics.set(topic, { offset, position });
    return true;
  }

  // The topic's events up to the offset `last` are lost. Should they arrive later, they are ignored.
  lose(topic, stream, last) {
    const { topics } = this.#at(stream);
    if (last > (topics.get(topic)?.offset ?? 0)) topics.set(topic, { offset: last, position: Infinity });
  }

  // The broker has begun again, with this stream: earlier ones of its origin have ended.
  restart(stream) {
    const begun = this.#at(stream);
    if (!begun.beforeConnection) return;
    // The same number, but it has not reached the position: another incarnation.
    this.#streams.set(stream, { complete: begun.complete === null ? null : 0, topics: new Map(), beforeConnection: false });
  }

  // Everything up to the positions of this resume token has arrived, or is not wanted. Positions never go back.
  complete(token) {
    for (const part of token ? token.split(",") : []) {
      const [stream, text] = part.split(":");
      const known = this.#at(stream);
      known.complete = Math.max(known.complete ?? 0, Number(text));
      for (const [topic, { position }] of known.topics) {
        if (position <= known.complete) known.topics.delete(topic);
      }
    }
  }

  // The connection was lost: a restart() after it may name a stream again that was known before.
  disconnected() {
    for (const stream of this.#streams.values()) stream.beforeConnection = true;
  }

  // A value for `since=`, before which nothing is missing; "" if none is known.
  toString() {
    return [...this.#streams].filter(([, { complete }]) => complete !== null)
      .map(([stream, { complete }]) => `${stream}:${complete}`).join(",");
  }

  #at(stream) {
    const known = this.#streams.get(stream);
    if (known) return known;
    // A new incarnation of a known broker is read from its beginning.
    let complete = null;
    for (const [other, { complete: reached }] of this.#streams) {
      if (originOf(other) !== originOf(stream)) continue;
      if (reached !== null) complete = 0;
      this.#streams.delete(other);
    }
    if (this.#streams.size >= STREAMS_MAX) this.#streams.delete(this.#streams.keys().next().value);
    const made = { complete, topics: new Map(), beforeConnection: false };
    this.#streams.set(stream, made);
    return made;
  }
}

const UNIT_MS = { ns: 1e-6, us: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

// The request that resumes `request` after its connection was lost, `elapsedMs` after it was first made (null: it was
// never active). If no position is known, it is made again, and what has arrived already is ignored.
export function resumed(request, progress, elapsedMs) {
  const since = progress.toString();
  if (since) return { ...request, last: false, since };
  if (elapsedMs === null) return request;
  const elapsed = Math.ceil(elapsedMs + MARGIN_MS);
  const [, number, unit] = /^([0-9]+)(ns|us|ms|s|m|h|d)$/.exec(request.since) ?? [];
  if (number) return { ...request, since: `${Math.ceil(Number(number) * UNIT_MS[unit] + elapsed)}ms` };
  if (request.last || request.since) return request;
  return { ...request, since: `${elapsed}ms` };
}

// Where a subscription can go on after its connection was lost: the last position seen of each stream.

const STREAMS_MAX = 64;  // as many as a resume token may have

export class ResumeToken {
  #positions = new Map();

  // An event of `stream` (16 hex digits) was seen. Positions of what history gave first may be lower than
  // those of values seen before.
  see(stream, position) {
    const known = this.#positions.get(stream);
    if (known !== undefined) {
      if (position > known) this.#positions.set(stream, position);
      return;
    }
    // The same broker in a new life: what was before is not to be had any more.
    for (const other of this.#positions.keys()) {
      if (other.slice(0, 8) === stream.slice(0, 8)) this.#positions.delete(other);
    }
    if (this.#positions.size >= STREAMS_MAX) this.#positions.delete(this.#positions.keys().next().value);
    this.#positions.set(stream, position);
  }

  // What `since=` takes; "" where nothing was seen.
  toString() {
    return [...this.#positions].map(([stream, position]) => `${stream}:${position}`).join(",");
  }
}

// What to ask for again after `request` was in force from `liveAt` on (ms; null: it never was) and its connection
// was lost: what came since the last event seen, or where none was, what came since then.
export function resumed(request, token, liveAt, now) {
  const since = token.toString();
  if (since) return { ...request, last: false, since };
  if (liveAt === null || request.since) return request;
  return { ...request, last: false, since: `${Math.max(1, Math.ceil(now - liveAt))}ms` };
}

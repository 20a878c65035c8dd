// Where a subscription resumes after a lost connection: after the last position seen of each stream.

const STREAMS_MAX = 64;  // as many as a resume token may have

export class ResumeToken {
  #positions = new Map();

  // An event of `stream` (16 hex digits) was seen. Replayed events may have lower positions than retained values that
  // were seen before.
  see(stream, position) {
    const known = this.#positions.get(stream);
    if (known !== undefined) {
      if (position > known) this.#positions.set(stream, position);
      return;
    }
    // A new incarnation of a known broker: the old one has no more events.
    for (const other of this.#positions.keys()) {
      if (other.slice(0, 8) === stream.slice(0, 8)) this.#positions.delete(other);
    }
    if (this.#positions.size >= STREAMS_MAX) this.#positions.delete(this.#positions.keys().next().value);
    this.#positions.set(stream, position);
  }

  // A value for `since=`; "" if nothing was seen.
  toString() {
    return [...this.#positions].map(([stream, position]) => `${stream}:${position}`).join(",");
  }
}

// The request that resumes `request` after its connection was lost: since the last event seen, or, if there was none,
// since `liveAt` (ms; null: the subscription was never active).
export function resumed(request, token, liveAt, now) {
  const since = token.toString();
  if (since) return { ...request, last: false, since };
  if (liveAt === null || request.since) return request;
  return { ...request, last: false, since: `${Math.max(1, Math.ceil(now - liveAt))}ms` };
}

// Whether figures are still updated, and if not, since when. No DOM; the caller passes the time.

const LATE = 3;  // updates that may be missed before the figures count as stale
const OBSERVED_MAX_MS = 60_000;

export class Freshness {
  #everyMs;
  #observedMs = 0;
  #updatedAt = null;
  #wallMs = null;
  #ended = false;

  // `everyMs`: the expected time between two updates. If they come more slowly, the observed time counts.
  constructor(everyMs) {
    this.#everyMs = everyMs;
  }

  // The figures were updated at `now` (a steady clock, ms), which is `wallMs` by the clock on the wall.
  updated(now, wallMs = Date.now()) {
    if (this.#updatedAt !== null) this.#observedMs = Math.min(OBSERVED_MAX_MS, now - this.#updatedAt);
    this.#updatedAt = now;
    this.#wallMs = wallMs;
    this.#ended = false;
  }

  // No update can come, for example because the connection is lost: the figures are stale at once, until the next one.
  end() {
    this.#ended = true;
  }

  // When the figures were last updated (ms by the clock on the wall) if they are stale; null if they are fresh, or were
  // never updated.
  staleSince(now) {
    if (this.#updatedAt === null) return null;
    const late = now - this.#updatedAt > LATE * Math.max(this.#everyMs, this.#observedMs);
    return this.#ended || late ? this.#wallMs : null;
  }
}

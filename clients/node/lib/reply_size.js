// How large a reply to request from a broker.

export const LEAST = 1 << 10; // bytes
export const FIRST = 4 << 10;
export const MOST = 256 << 10;
export const TARGET_MS = 250; // what a reply may take beyond the path's latency
const VALID_MS = 5000; // after this time without a reply of about the requested size, the path is unknown again
const WAITS_MAX = 8;

/** Chooses the size of the replies on one connection by how fast the last ones came: over a slow path, a complete reply is
 * the only progress that shows. The first ones are small; after each one that came quickly, the next may be twice as
 * large. Times in ms. */
export class ReplySize {
  #size = FIRST;
  #measured = -Infinity;
  #waits = []; // of requests that were alone: the shortest is the latency

  /** The size to request now, in bytes. */
  next(now) {
    if (now - this.#measured > VALID_MS) this.#size = Math.min(this.#size, FIRST);
    return this.#size;
  }

  /** `waited`: since the request was sent, or the reply before arrived. `alone`: no other request was pending when it was
   * sent. */
  onReply({ requested, bytes, waited, alone }, now) {
    let took = waited;
    if (alone) {
      this.#waits.push(waited);
      if (this.#waits.length > WAITS_MAX) this.#waits.shift();
      took -= Math.min(...this.#waits);
    }
    if (bytes < LEAST) return; // it says nothing about the rate
    const fits = Math.floor(Math.min(Math.max(bytes * TARGET_MS / Math.max(took, 1), LEAST), MOST));
    const full = 2 * bytes >= requested;
    if (!full && fits >= this.#size) return; // a larger one has not been tried
    this.#size = full ? Math.min(fits, Math.max(2 * requested, LEAST)) : fits;
    this.#measured = now;
  }
}

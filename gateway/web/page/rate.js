// Events per second, over the last second, in tenths of a second.

const SLOTS = 10;
const SLOT_MS = 100;

export class RateMeter {
  #counts = new Array(SLOTS).fill(0);
  #slot = 0;
  #begin = null;

  add(now, count = 1) {
    this.#turn(now);
    this.#counts[this.#slot % SLOTS] += count;
  }

  // Counts the complete tenths that have passed, at most a second of them.
  perSecond(now) {
    this.#turn(now);
    const passed = Math.min(this.#slot - this.#begin, SLOTS - 1);
    if (passed < 1) return this.#counts[this.#slot % SLOTS] * SLOTS;
    const running = this.#counts[this.#slot % SLOTS];
    return ((this.#counts.reduce((sum, each) => sum + each, 0) - running) * (1000 / SLOT_MS)) / passed;
  }

  #turn(now) {
    const slot = Math.floor(now / SLOT_MS);
    this.#begin ??= slot;
    if (slot - this.#slot >= SLOTS) this.#counts.fill(0);
    else for (let each = this.#slot + 1; each <= slot; ++each) this.#counts[each % SLOTS] = 0;
    this.#slot = Math.max(this.#slot, slot);
  }
}

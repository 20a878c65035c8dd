// Chooses the rows to draw: all events if there are few, else an even sample. Gaps, resets and notes are always drawn;
// of a flood of these, the newest.

export class Sampler {
  #events = [];
  #notices = [];
  #received = 0;
  #stride = 1;  // one event in this many is kept
  #order = 0;
  #newest = null;

  // At most `perTurn` events are drawn per turn.
  constructor(perTurn) {
    this.perTurn = perTurn;
    this.keptMax = 4 * perTurn;
  }

  add(item) {
    const kept = { item, order: this.#order++ };
    if (item.kind !== "event") {
      this.#notices.push(kept);
      if (this.#notices.length > this.keptMax) this.#notices.shift();
      return;
    }
    this.#newest = kept;
    if (this.#received++ % this.#stride !== 0) return;
    this.#events.push(kept);
    if (this.#events.length < this.keptMax) return;
    this.#events = this.#events.filter((_, index) => index % 2 === 0);
    this.#stride *= 2;
  }

  // The rows to draw now, oldest first, always with the newest event, and how many events were received.
  take() {
    const step = Math.max(1, this.#events.length / this.perTurn);
    const chosen = [];
    for (let at = 0; Math.floor(at) < this.#events.length; at += step) chosen.push(this.#events[Math.floor(at)]);
    if (chosen.length > 0 && chosen.at(-1) !== this.#newest) chosen.splice(-1, 1, this.#newest);
    const items = [...chosen, ...this.#notices].sort((a, b) => a.order - b.order).map((kept) => kept.item);
    const received = this.#received;
    this.#events = [];
    this.#notices = [];
    this.#received = 0;
    this.#stride = 1;
    return { items, received };
  }
}

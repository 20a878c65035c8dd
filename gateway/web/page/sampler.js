// Which of the rows that come are drawn: all events while they are few, and else an even choice of them. Gaps,
// resets and notes are always drawn, but for a flood of them, of which the newest are.

export class Sampler {
  #events = [];
  #notices = [];
  #received = 0;
  #stride = 1;  // each so-manieth event is kept
  #order = 0;
  #newest = null;

  // At most `perTurn` events are drawn a turn.
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

  // What to draw now, oldest first, and how many events came for it. The newest event is always among them.
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

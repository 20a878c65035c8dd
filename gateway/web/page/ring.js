// A list of the newest items, bounded by their number and by the sum of their `size`s. Discards the oldest. Bounds the
// page's memory.

export class Ring {
  #items = [];
  #begin = 0;
  #size = 0;

  constructor(capacity, sizeMax = Infinity) {
    this.capacity = capacity;
    this.sizeMax = sizeMax;
  }

  get length() {
    return this.#items.length - this.#begin;
  }

  push(item) {
    this.#items.push(item);
    this.#size += item.size ?? 0;
    while (this.length > this.capacity || (this.#size > this.sizeMax && this.length > 1)) {
      this.#size -= this.#items[this.#begin].size ?? 0;
      this.#items[this.#begin++] = undefined;
    }
    if (this.#begin <= this.capacity) return;
    this.#items = this.#items.slice(this.#begin);
    this.#begin = 0;
  }

  // 0 is the oldest; negative indices count from the newest, as in Array.at().
  at(index) {
    const from = index < 0 ? this.length + index : index;
    return from < 0 ? undefined : this.#items[this.#begin + from];
  }

  clear() {
    this.#items = [];
    this.#begin = 0;
    this.#size = 0;
  }

  *[Symbol.iterator]() {
    for (let index = 0; index < this.length; ++index) yield this.at(index);
  }
}

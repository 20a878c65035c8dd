// One event of each topic per interval.

/** Passes on the first event of each topic at once, then the latest one at most once per interval. */
export class Throttle {
  #intervalMs;
  #passOn;
  #freeAt = new Map(); // by topic: when the next event may be passed on
  #waiting = new Map(); // by topic
  #due = Infinity; // not later than the first of the waiting ones

  constructor(intervalMs, passOn) {
    this.#intervalMs = intervalMs;
    this.#passOn = passOn;
  }

  event(event, time) {
    const freeAt = this.#freeAt.get(event.topic) ?? time;
    if (time >= freeAt) {
      this.#pass(event, time);
      return;
    }
    this.#waiting.set(event.topic, event);
    this.#due = Math.min(this.#due, freeAt);
  }

  /** Passes on the topic's waiting event, if there is one: what follows must not overtake it. */
  release(topic, time) {
    const waiting = this.#waiting.get(topic);
    if (waiting) this.#pass(waiting, time);
  }

  releaseAll(time) {
    for (const event of [...this.#waiting.values()]) this.#pass(event, time);
  }

  tick(time) {
    if (time < this.#due) return;
    this.#due = Infinity;
    for (const event of [...this.#waiting.values()]) {
      const freeAt = this.#freeAt.get(event.topic);
      if (time >= freeAt) this.#pass(event, time);
      else this.#due = Math.min(this.#due, freeAt);
    }
  }

  due() {
    return this.#due;
  }

  /** The lowest position of the stream's events that wait; null if none does. */
  lowestWaiting(stream) {
    let lowest = null;
    for (const { stamp } of this.#waiting.values()) {
      if (stamp.stream === stream && (lowest === null || stamp.position < lowest)) lowest = stamp.position;
    }
    return lowest;
  }

  #pass(event, time) {
    this.#waiting.delete(event.topic);
    this.#freeAt.set(event.topic, time + this.#intervalMs);
    this.#passOn(event);
  }
}

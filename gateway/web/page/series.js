// One line per topic over the last seconds, in bounded memory: keeps the minimum and maximum of each slice of time, and
// thus every peak. A gap interrupts a line until the next event.

const SLICES = 500;  // about one per two pixels
export const LINES_MAX = 8;

export class Chart {
  #lines = new Map();
  #omitted = new Set();  // topics above LINES_MAX
  marks = [];  // where events are missing: {topic, from, to}, seconds; `to` is null until the next event

  constructor(windowS) {
    this.sliceS = windowS / SLICES;
    this.windowS = windowS;
  }

  get topics() {
    return [...this.#lines.keys()];
  }

  get topicsOmitted() {
    return this.#omitted.size;
  }

  add(topic, timeS, value) {
    let line = this.#lines.get(topic);
    if (!line) {
      if (this.#lines.size >= LINES_MAX) {
        if (this.#omitted.size < 10_000) this.#omitted.add(topic);
        return;
      }
      line = { slices: [], broken: false, last: 0 };
      this.#lines.set(topic, line);
    }
    for (const mark of this.marks) {
      if (mark.to === null && mark.topic === topic) mark.to = timeS;
    }
    const end = line.slices.at(-1);
    const at = Math.floor(timeS / this.sliceS);
    if (end && !line.broken && at <= end.at) {
      // Late values, too: a line does not go back in time.
      if (value < end.min) Object.assign(end, { min: value, minAt: Math.max(timeS, end.from) });
      if (value > end.max) Object.assign(end, { max: value, maxAt: Math.max(timeS, end.from) });
    } else {
      const from = Math.max(timeS, line.last);
      line.slices.push({ at, from, min: value, minAt: from, max: value, maxAt: from, broken: line.broken });
      line.broken = false;
    }
    line.last = Math.max(line.last, timeS);
    this.#expire(line);
  }

  // Events of `topic` are missing; null: of every topic (a reset).
  breakAt(topic, nowS) {
    for (const [name, line] of this.#lines) {
      if (topic !== null && topic !== name) continue;
      if (line.broken) continue;
      line.broken = true;
      this.marks.push({ topic: name, from: line.last || nowS, to: null });
    }
    if (this.marks.length > 200) this.marks.splice(0, this.marks.length - 200);
  }

  #expire(line) {
    // A little more than the window: the line must reach the edge of the picture.
    const first = line.slices.findIndex((slice) => slice.at >= line.slices.at(-1).at - SLICES - 2);
    if (first > SLICES / 10) line.slices.splice(0, first);
  }

  // The lines for uPlot.join(): [[times], [values]] each, times rising, null where a line is interrupted.
  tables() {
    return [...this.#lines.values()].map((line) => {
      const times = [];
      const values = [];
      const push = (time, value) => {
        // uPlot needs different times.
        times.push(times.length > 0 && time <= times.at(-1) ? times.at(-1) + 1e-6 : time);
        values.push(value);
      };
      for (const slice of line.slices) {
        if (slice.broken) push(slice.from, null);
        const minFirst = slice.minAt <= slice.maxAt;
        push(minFirst ? slice.minAt : slice.maxAt, minFirst ? slice.min : slice.max);
        if (slice.min !== slice.max) push(minFirst ? slice.maxAt : slice.minAt, minFirst ? slice.max : slice.min);
      }
      return [times, values];
    });
  }

  // The time of the newest event of all lines.
  get newestS() {
    return Math.max(0, ...[...this.#lines.values()].map((line) => line.last));
  }
}

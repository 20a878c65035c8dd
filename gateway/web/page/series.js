// One line per topic over the last seconds, in bounded memory: keeps the minimum and maximum of each slice of time, and
// thus every peak. Events may be added in any order, and more than once: history comes after live events. A gap
// interrupts a line until the next event.

const SLICES = 500;  // about one per two pixels
export const LINES_MAX = 8;
const POINTS_MAX = 60;  // of a line; more of them would hide it

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
      line = { slices: [], last: 0 };
      this.#lines.set(topic, line);
    }
    for (const mark of this.marks) {
      if (mark.to === null && mark.topic === topic && timeS > mark.from) mark.to = timeS;
    }
    this.#insert(line.slices, Math.floor(timeS / this.sliceS), timeS, value);
    line.last = Math.max(line.last, timeS);
    this.#expire(line);
  }

  // Events of `topic` are missing; null: of every topic (a reset).
  breakAt(topic, nowS) {
    for (const [name, line] of this.#lines) {
      if (topic !== null && topic !== name) continue;
      if (this.marks.some((mark) => mark.topic === name && mark.to === null)) continue;
      this.marks.push({ topic: name, from: line.last || nowS, to: null });
    }
    if (this.marks.length > 200) this.marks.splice(0, this.marks.length - 200);
  }

  #insert(slices, at, timeS, value) {
    let index = slices.length;
    while (index > 0 && slices[index - 1].at > at) --index;
    const slice = slices[index - 1];
    if (index === 0 && slices.length > 0 && at < slices.at(-1).at - SLICES - 2) return;  // before the window
    if (slice?.at !== at) {
      slices.splice(index, 0, { at, min: value, minAt: timeS, max: value, maxAt: timeS });
      return;
    }
    if (value < slice.min) Object.assign(slice, { min: value, minAt: timeS });
    if (value > slice.max) Object.assign(slice, { max: value, maxAt: timeS });
  }

  #expire(line) {
    // A little more than the window: the line must reach the edge of the picture.
    const first = line.slices.findIndex((slice) => slice.at >= line.slices.at(-1).at - SLICES - 2);
    if (first > SLICES / 10) line.slices.splice(0, first);
  }

  // The lines for uPlot.join(): [[times], [values]] each, times rising, null where a line is interrupted.
  tables() {
    return [...this.#lines].map(([topic, line]) => {
      const ends = new Set(this.marks.filter((mark) => mark.topic === topic).map((mark) => Math.floor(mark.from / this.sliceS)));
      const times = [];
      const values = [];
      const push = (time, value) => {
        // uPlot needs different times.
        times.push(times.length > 0 && time <= times.at(-1) ? times.at(-1) + 1e-6 : time);
        values.push(value);
      };
      let before = null;
      for (const slice of line.slices) {
        const minFirst = slice.minAt <= slice.maxAt;
        if (before !== null && ends.has(before)) push(Math.min(slice.minAt, slice.maxAt), null);
        push(minFirst ? slice.minAt : slice.maxAt, minFirst ? slice.min : slice.max);
        if (slice.min !== slice.max) push(minFirst ? slice.maxAt : slice.minAt, minFirst ? slice.max : slice.min);
        before = slice.at;
      }
      return [times, values];
    });
  }

  // The smallest and largest value from `fromS` to `toS`; null if there is none.
  extent(fromS, toS) {
    let [min, max] = [Infinity, -Infinity];
    for (const { slices } of this.#lines.values()) {
      for (const slice of slices) {
        if (slice.minAt >= fromS && slice.minAt <= toS) min = Math.min(min, slice.min);
        if (slice.maxAt >= fromS && slice.maxAt <= toS) max = Math.max(max, slice.max);
      }
    }
    return min === Infinity && max === -Infinity ? null : [Math.min(min, max), Math.max(min, max)];
  }

  // The time of the newest event of all lines; 0 without events.
  get newestS() {
    return Math.max(0, ...[...this.#lines.values()].map((line) => line.last));
  }
}

// The vertical axis for values of `extent` ([min, max], or null). Values that are not in the picture do not count.
export function axisRange(extent) {
  if (extent === null) return [0, 1];
  const [min, max] = extent;
  if (min === max) {
    const around = min === 0 ? 1 : Math.abs(min) * 0.05;
    return [min - around, max + around];
  }
  const margin = (max - min) * 0.08;
  // Values of one sign keep it.
  return [min >= 0 ? Math.max(0, min - margin) : min - margin, max <= 0 ? Math.min(0, max + margin) : max + margin];
}

// Which values of a line to draw as points too: all if there are few of them, else those without a neighbour, which a
// line does not show. `undefined` is another line's time, null an interruption. @returns indices.
export function pointsToDraw(values) {
  const present = [];
  values.forEach((value, index) => { if (value !== undefined) present.push(index); });
  const numbers = present.filter((index) => values[index] !== null);
  if (numbers.length <= POINTS_MAX) return numbers;
  return present.filter((index, at) => values[index] !== null &&
    (values[present[at - 1]] ?? null) === null && (values[present[at + 1]] ?? null) === null);
}

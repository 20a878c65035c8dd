// The topics that there are, with how much comes on each: made of TOPICS answers, which tell how far each has
// come; a rate is the difference of two of them. No DOM.

import { value } from "./format.js";
import { matches, patternProblem, isTopic } from "./pattern.js";

export const TOPICS_MAX = 20_000;  // more are counted, and not kept
const VALUE_MAX = 120;  // characters of a topic's last value
export const HISTORY = 40;  // rates kept of each, for its sparkline

export class Topics {
  #known = new Map();
  #listing = null;
  #previousAt = null;
  total = 0;  // as many as the broker has listed of
  totalRate = 0;

  get size() {
    return this.#known.size;
  }

  get(name) {
    return this.#known.get(name);
  }

  // An answer begins, its +TOPIC lines come, it ends.
  begin() {
    this.#listing = new Map();
    this.total = 0;
  }

  add({ name, offset, age }) {
    if (!this.#listing) return;
    this.total += 1;
    if (this.#listing.size < TOPICS_MAX) this.#listing.set(name, { offset, age });
  }

  end(now) {
    if (!this.#listing) return;
    const passed = this.#previousAt === null ? 0 : (now - this.#previousAt) / 1000;
    const known = new Map();
    this.totalRate = 0;
    for (const [name, listed] of this.#listing) {
      const topic = this.#known.get(name) ?? { name, offset: listed.offset, rate: 0, rates: [], value: "" };
      // A smaller offset: the numbering began anew.
      const grown = listed.offset >= topic.offset ? listed.offset - topic.offset : listed.offset;
      topic.rate = passed > 0 ? grown / passed : 0;
      if (passed > 0) topic.rates.push(topic.rate);
      if (topic.rates.length > HISTORY) topic.rates.shift();
      topic.offset = listed.offset;
      topic.quietSince = now - listed.age * 1000;
      this.totalRate += topic.rate;
      known.set(name, topic);
    }
    this.#known = known;
    this.#listing = null;
    this.#previousAt = now;
  }

  // The last event of a topic that is on screen.
  value(event) {
    const topic = this.#known.get(event.topic);
    if (topic) topic.value = value(event, VALUE_MAX);
  }

  // Those found by `text`: a pattern where it has wildcards, else all whose name has it in it.
  list(text, sort) {
    const found = [...this.#known.values()].filter(finder(text));
    const byName = (a, b) => (a.name < b.name ? -1 : 1);
    return found.sort(sort === "rate" ? (a, b) => b.rate - a.rate || byName(a, b) : byName);
  }
}

function finder(text) {
  const wanted = text.trim();
  if (wanted === "") return () => true;
  if (patternProblem(wanted) === "" && !isTopic(wanted)) return (topic) => matches(wanted, topic.name);
  const lower = wanted.toLowerCase();
  return (topic) => topic.name.toLowerCase().includes(lower);
}

// What to ask the broker for, so that the search finds also what is beyond TOPICS_MAX.
export function topicsPattern(text) {
  const wanted = text.trim();
  if (wanted.startsWith("$SYS")) return "$SYS.>";
  return patternProblem(wanted) === "" && !isTopic(wanted) ? wanted : ">";
}

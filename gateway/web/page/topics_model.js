// All topics with their rates, from replies to TOPICS, which contain each topic's offset: a rate is the difference of
// two offsets. No DOM.

import { value } from "./format.js";
import { matches, patternProblem, isTopic } from "./pattern.js";

export const TOPICS_MAX = 20_000;  // more are counted, but not kept
const VALUE_MAX = 120;  // characters of a topic's last value
export const HISTORY = 40;  // rates kept per topic, for its sparkline

export class Topics {
  #known = new Map();
  #listing = null;
  #previousAt = null;
  total = 0;  // how many the broker has listed
  totalRate = 0;

  get size() {
    return this.#known.size;
  }

  get(name) {
    return this.#known.get(name);
  }

  // A reply is begin(), add() for each +TOPIC line, and end().
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
      // A smaller offset: numbering has started again.
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

  // Takes the last event of a topic that is on screen.
  value(event) {
    const topic = this.#known.get(event.topic);
    if (topic) topic.value = value(event, VALUE_MAX);
  }

  // The topics that `text` finds: a pattern if it has wildcards, else part of a name.
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

// The pattern for TOPICS with which the search also finds topics beyond TOPICS_MAX.
export function topicsPattern(text) {
  const wanted = text.trim();
  if (wanted.startsWith("$SYS")) return "$SYS.>";
  return patternProblem(wanted) === "" && !isTopic(wanted) ? wanted : ">";
}

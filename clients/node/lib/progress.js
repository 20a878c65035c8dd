// How far a reader has come.

const UNIT_NS = { ms: 10n ** 6n, s: 10n ** 9n, m: 60n * 10n ** 9n, h: 3600n * 10n ** 9n, d: 86400n * 10n ** 9n };
const AGO_MAX_NS = 3650n * UNIT_NS.d;
const PLACES_MAX = 64;
const UINT64_MAX = 2n ** 64n - 1n;

const least = (a, b) => (b < a ? b : a);

/** How far a reader has come in one stream, and what is missing below that point.
 *
 * Everything up to resumePosition() has been delivered or reported as a gap. Above it there may be events that have been
 * delivered, and events that are missing. A place is { offset, position }: an event's place in its topic and in its
 * stream. */
export class StreamProgress {
  #last = new Map(); // by topic: the place of the last event that was delivered or reported
  #resume = 0n;
  #missing = new Map(); // by topic: the place of the last event that is known to be missing

  /** Reading began after the position `start`; null: not known yet. */
  constructor(stream, start) {
    this.stream = stream;
    this.start = start;
    this.verified = start; // every event up to here is in #last or missing
  }

  last(topic) {
    return this.#last.get(topic);
  }

  /** The position after which the topic's next event is; null: not known. */
  after(topic) {
    return this.#last.get(topic)?.position ?? this.start;
  }

  /** The topic's events up to this one have been delivered or reported. */
  done(topic, offset, position) {
    this.#last.set(topic, { offset, position });
    if (this.#missing.get(topic)?.offset <= offset) this.#missing.delete(topic);
  }

  /** No event of the stream has been delivered. */
  forget() {
    this.#resume = 0n;
    this.#last.clear();
    this.#missing.clear();
  }

  /** Whether this event of the topic has neither been delivered nor reported, nor is from before the start. */
  lacks(topic, offset, position) {
    const last = this.#last.get(topic);
    return last ? last.offset < offset : this.start !== null && position > this.start;
  }

  /** This event of the topic exists and has not been delivered or reported. */
  miss(topic, offset, position) {
    const known = this.#missing.get(topic);
    if (!known || known.offset < offset) this.#missing.set(topic, { offset, position });
  }

  /** By topic, the place of the last event that is known to be missing. */
  get missing() {
    return this.#missing;
  }

  /** The position before which nothing is missing. It never falls. null if it is not known yet. */
  resumePosition() {
    if (this.verified === null) return null;
    // A topic's missing events are behind its last one, and behind every earlier resume position.
    let position = this.verified;
    for (const topic of this.#missing.keys()) position = least(position, this.after(topic) ?? 0n);
    if (position > this.#resume) this.#resume = position;
    return this.#resume;
  }
}

/** The text of a position in each of some streams: `<stream as 16 hex digits>:<position>`, joined by commas. */
export function resumeToken(positions) {
  return [...positions].map(([stream, position]) => `${stream.toString(16).padStart(16, "0")}:${position}`).join(",");
}

function durationNs(text) {
  const [, number, unit] = /^([0-9]{1,20})(ms|s|m|h|d)$/.exec(text) ?? [];
  const ns = unit ? BigInt(number) * UNIT_NS[unit] : null;
  return ns !== null && ns <= AGO_MAX_NS ? ns : null;
}

/** Where a subscription begins: { positions } (a Map by stream), { offset }, { agoNs } or { atNs }. Throws a RangeError
 * unless `since` is a resume token, an offset (BigInt or number), a duration such as "10m" or a Date. */
export function parseSince(since) {
  if (since instanceof Date && !Number.isNaN(since.getTime())) return { atNs: BigInt(since.getTime()) * 1_000_000n };
  const text = typeof since === "bigint" || Number.isSafeInteger(since) ? String(since) : since;
  if (typeof text === "string") {
    if (/^[0-9]{1,20}$/.test(text) && BigInt(text) <= UINT64_MAX) return { offset: BigInt(text) };
    const agoNs = durationNs(text);
    if (agoNs !== null) return { agoNs };
    const places = text.split(",").map((place) => /^([0-9a-f]{16}):([0-9]{1,20})$/.exec(place));
    if (places.every(Boolean) && places.length <= PLACES_MAX) {
      const positions = new Map(places.map(([, stream, position]) => [BigInt(`0x${stream}`), BigInt(position)]));
      if (positions.size === places.length && [...positions.values()].every((position) => position <= UINT64_MAX)) {
        return { positions };
      }
    }
  }
  throw new RangeError("since: expected a resume token (<16 hex digits>:<position>, at most 64 joined by commas, each "
    + `stream once), an offset, a duration such as 10m or a Date, got ${JSON.stringify(String(since))}`);
}

/** Milliseconds. Throws a RangeError unless `every` is a positive number of milliseconds or a duration such as "5s". */
export function parseInterval(every) {
  const ms = typeof every === "string" ? Number(durationNs(every) ?? 0n) / 1e6 : every;
  if (typeof ms !== "number" || !(ms > 0 && ms <= Number(AGO_MAX_NS) / 1e6)) {
    throw new RangeError("every: expected a positive number of milliseconds or a duration such as 5s, "
      + `got ${JSON.stringify(String(every))}`);
  }
  return ms;
}

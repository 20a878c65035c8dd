// Finds and reads the numeric fields of events.

const DEPTH_MAX = 5;
const FIELDS_MAX = 64;
const NUMBER = /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/;  // 64-bit numbers are strings in the JSON of typed payloads

// The name of the field if an event's payload is just a number.
export const WHOLE = "(value)";

function number(value) {
  if (typeof value === "number") return Number.isFinite(value) ? value : null;
  return typeof value === "string" && value.length < 40 && NUMBER.test(value) ? Number(value) : null;
}

// The payload as a value to search: `data`, or parsed text if that is JSON.
export function payload(event) {
  if (event.data !== undefined) return event.data;
  if (event.text === undefined) return undefined;
  const text = event.text.trim();
  if (!/^[[{]/.test(text)) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

// The number at `path` (one of fieldsOf()) in an event; null if there is none.
export function readField(event, path) {
  let value = payload(event);
  if (path === WHOLE) return number(value);
  for (const step of path.split(".")) {
    if (value === null || typeof value !== "object") return null;
    value = value[step.replaceAll("\u2024", ".")];
  }
  return number(value);
}

// The paths of all numbers in an event, at most FIELDS_MAX.
export function fieldsOf(event) {
  const found = [];
  const walk = (value, path, depth) => {
    if (found.length >= FIELDS_MAX || depth > DEPTH_MAX) return;
    if (number(value) !== null) {
      found.push(path || WHOLE);
    } else if (value !== null && typeof value === "object") {
      for (const [name, inner] of Object.entries(value)) {
        // A dot within a name is no separator.
        const step = name.replaceAll(".", "\u2024");
        walk(inner, path ? `${path}.${step}` : step, depth + 1);
      }
    }
  };
  walk(payload(event), "", 0);
  return found;
}

// The fields seen in a subscription's events. Searches the first 200 events, then every 50th.
export class FieldFinder {
  #seen = new Set();
  #looked = 0;

  // @returns whether a field is new.
  look(event) {
    const turn = this.#looked++;
    if (turn > 200 && turn % 50 !== 0) return false;
    const before = this.#seen.size;
    for (const path of fieldsOf(event)) {
      if (this.#seen.size >= FIELDS_MAX) break;
      this.#seen.add(path);
    }
    return this.#seen.size !== before;
  }

  get fields() {
    return [...this.#seen];
  }
}

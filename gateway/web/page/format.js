// Numbers, times and payloads as text for people.

const UNITS = ["", "k", "M", "G", "T"];

// 1,012 is "1,012"; from 100,000 on: "101k", "1.2M".
export function count(value) {
  if (!Number.isFinite(value)) return "–";
  if (Math.abs(value) < 100_000) return Math.round(value).toLocaleString("en-GB");
  return scaled(value, 1000);
}

export const bytes = (value) => `${scaled(value, 1024)}B`;

function scaled(value, step) {
  let unit = 0;
  while (Math.abs(value) >= step && unit + 1 < UNITS.length) {
    value /= step;
    ++unit;
  }
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)}${UNITS[unit]}`;
}

// Events per second: "0", "0.2", "14", "1,012".
export function rate(value) {
  if (value <= 0) return "0";
  return value < 9.95 ? value.toFixed(1) : count(value);
}

// "now", "12 s", "4 min", "3 h", "2 d".
export function age(seconds) {
  if (seconds < 1) return "now";
  if (seconds < 100) return `${Math.floor(seconds)} s`;
  if (seconds < 6000) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

const pad = (value, width) => String(value).padStart(width, "0");

// A time (ms) as local time of day: "14:03:59.120".
export function clock(ms) {
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) return "–";
  return `${pad(date.getHours(), 2)}:${pad(date.getMinutes(), 2)}:${pad(date.getSeconds(), 2)}.${pad(date.getMilliseconds(), 3)}`;
}

// How stale figures are marked: "as of 14:03:59".
export const asOf = (ms) => `as of ${clock(ms).slice(0, 8)}`;

// When the broker received an event, in ms.
export const receivedMs = (event) => Date.parse(event.received ?? event.time);

// An event's payload on one line, at most `limit` characters of it.
export function value(event, limit = 2000) {
  if (event.data !== undefined) return cut(brief(event.data), limit);
  if (event.text !== undefined) return cut(event.text.replace(/\s+/g, " "), limit);
  if (event.base64 !== undefined) return cut(`base64 ${event.base64}`, limit);
  return "(cleared)";
}

const cut = (text, limit) => (text.length > limit ? `${text.slice(0, limit)} …` : text);

// Without braces and the quotes of names, which are the same in every row.
function brief(data) {
  if (data === null || typeof data !== "object" || Array.isArray(data)) return JSON.stringify(data);
  return Object.entries(data)
    .map(([name, inner]) => `${name} ${typeof inner === "string" ? inner : JSON.stringify(inner)}`)
    .join("  ");
}

// A gap as text.
export function gapText(gap) {
  const { first, last, reason } = gap;
  if (!last) return `events lost: ${words(reason)}`;
  if (!first) return `events up to ${count(last)} lost: ${words(reason)}`;
  const lost = last - first + 1;
  return `${lost === 1 ? "event" : "events"} ${first}${lost === 1 ? "" : `–${last}`} lost (${count(lost)}): ${words(reason)}`;
}

export const words = (reason) => String(reason).replaceAll("_", " ");

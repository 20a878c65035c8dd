// The line protocol over the gateway's WebSocket: parses its lines and writes commands.

const OBJECT_KINDS = ["gap", "reset", "wait", "live", "bye"];

// Parses one text frame into a message:
//   {kind: "event", event, size}      with the fields of FORMAT json, and the length of the line
//   {kind: "gap" | "reset", …}        with topic, stream and, of a gap, first, last and reason
//   {kind: "wait" | "live" | "bye", word}
//   {kind: "ok", word, rest}  {kind: "error", code, text}  {kind: "topic", name, offset, bytes, age}
//   {kind: "pong"}  {kind: "other"}
export function parseLine(line) {
  switch (line[0]) {
    case "{":
      return parseObject(line);
    case "+":
      return parseAnswer(line);
    case "-": {
      const [, code, text] = /^-ERR (\S+) ?(.*)$/s.exec(line) ?? [null, "unknown", line];
      return { kind: "error", code, text };
    }
    default:
      return { kind: "other" };
  }
}

function parseObject(line) {
  let object;
  try {
    object = JSON.parse(line);
  } catch {
    return { kind: "other" };
  }
  if (typeof object.topic === "string") return { kind: "event", event: object, size: line.length };
  for (const kind of OBJECT_KINDS) {
    if (!(kind in object)) continue;
    const value = object[kind];
    return typeof value === "object" ? { kind, ...value } : { kind, word: String(value) };
  }
  return { kind: "other" };
}

function parseAnswer(line) {
  if (line === "+PONG") return { kind: "pong" };
  const parts = line.split(" ");
  if (parts[0] === "+TOPIC" && parts.length >= 5) {
    return { kind: "topic", name: parts[1], offset: Number(parts[2]), bytes: Number(parts[3]), age: Number(parts[4]) };
  }
  if (parts[0] === "+OK") return { kind: "ok", word: parts[1] ?? "", rest: parts.slice(2).join(" ") };
  return { kind: "other" };
}

const WRITTEN = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" };

// Escapes text for PUB, which takes one line. The gateway undoes it.
export function escapeText(text) {
  return text.replace(/[\u0000-\u001f\u007f\\]/g,
    (byte) => WRITTEN[byte] ?? `\\x${byte.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

// The command for `request`: {pattern, last, every, since, policy}; only `pattern` is required.
export function subscribeLine(request) {
  return `SUB ${requestText(request)}`;
}

export function requestText(request) {
  const words = [request.pattern];
  if (request.last) words.push("last");
  for (const name of ["every", "since", "policy"]) {
    if (request[name]) words.push(`${name}=${request[name]}`);
  }
  return words.join(" ");
}

// The inverse of requestText(); null if a word is no option of SUB.
export function parseRequest(text) {
  const [pattern, ...words] = text.trim().split(/\s+/);
  const request = { pattern, last: false, every: "", since: "", policy: "" };
  for (const word of words) {
    const option = /^(every|since|policy)=(.+)$/.exec(word);
    if (word === "last") request.last = true;
    else if (option) request[option[1]] = option[2];
    else return null;
  }
  return request;
}

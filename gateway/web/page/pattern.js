// Topics and patterns, by the rules of docs/protocol.md.

const BYTES_MAX = 255;
const FORBIDDEN = /[\u0000-\u0020\u007f-\u009f]/u;  // control characters and the space
const FIRST_BYTES = "+-!{$";
const encoder = new TextEncoder();

// What is wrong with `text` as a topic or, with `wildcards`, as a pattern; "" if nothing is.
function wrong(text, wildcards) {
  const what = wildcards ? "pattern" : "topic";
  if (text === "") return `expected a ${what}`;
  if (/[\ud800-\udfff]/u.test(text)) return "expected UTF-8";
  if (encoder.encode(text).length > BYTES_MAX) return `expected at most ${BYTES_MAX} bytes`;
  if (FIRST_BYTES.includes(text[0]) && !text.startsWith("$SYS.")) return `expected a first character other than "${text[0]}"`;
  const tokens = text.split(".");
  for (const [index, token] of tokens.entries()) {
    if (token === "") return "expected a token between dots, got none";
    if (FORBIDDEN.test(token)) return "expected tokens without white space or control characters";
    if (!/[*>]/.test(token)) continue;
    if (!wildcards) return "expected a topic, got a wildcard";
    if (token.length > 1) return `expected a wildcard alone between dots, got "${token}"`;
    if (token === ">" && index + 1 < tokens.length) return 'expected ">" only at the end';
  }
  return "";
}

export const topicProblem = (text) => wrong(text, false);
export const patternProblem = (text) => wrong(text, true);

export const isTopic = (pattern) => !/[*>]/.test(pattern);

// Whether `pattern` matches `topic`. Both must be valid.
export function matches(pattern, topic) {
  if (isTopic(pattern)) return pattern === topic;
  if (topic.startsWith("$SYS.") && /^[*>]/.test(pattern)) return false;
  const wanted = pattern.split(".");
  const tokens = topic.split(".");
  for (const [index, token] of wanted.entries()) {
    if (index >= tokens.length) return false;
    if (token === ">") return true;
    if (token !== "*" && token !== tokens[index]) return false;
  }
  return wanted.length === tokens.length;
}

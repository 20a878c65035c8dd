// Topics and patterns, by the rules of docs/protocol.md.

const BYTES_MAX = 255;
const FORBIDDEN = /[\u0000-\u0020\u007f-\u009f]/u;  // control characters and the space
const FIRST_BYTES = "+-!{$";
const encoder = new TextEncoder();

// What is wrong with `text` as a topic or, with `wildcards`, as a pattern; "" where nothing is.
function wrong(text, wildcards) {
  const what = wildcards ? "pattern" : "topic";
  if (text === "") return `a ${what} is wanted`;
  if (/[\ud800-\udfff]/u.test(text)) return `a ${what} is UTF-8`;
  if (encoder.encode(text).length > BYTES_MAX) return `longer than ${BYTES_MAX} bytes`;
  if (FIRST_BYTES.includes(text[0]) && !text.startsWith("$SYS.")) return `begins with "${text[0]}"`;
  const tokens = text.split(".");
  for (const [index, token] of tokens.entries()) {
    if (token === "") return "a token is empty";
    if (FORBIDDEN.test(token)) return "white space, or a control character";
    if (!/[*>]/.test(token)) continue;
    if (!wildcards) return "a wildcard: this must be one topic";
    if (token.length > 1) return `"${token}": a wildcard stands alone between dots`;
    if (token === ">" && index + 1 < tokens.length) return '">" stands at the end';
  }
  return "";
}

export const topicProblem = (text) => wrong(text, false);
export const patternProblem = (text) => wrong(text, true);

export const isTopic = (pattern) => !/[*>]/.test(pattern);

// Whether an event of `topic` is one of `pattern`'s. Both are taken to be well-formed.
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

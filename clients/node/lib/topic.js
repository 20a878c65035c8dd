// Topic names, and patterns that match them.

export const TOPIC_BYTES_MAX = 255;
export const SYSTEM_PREFIX = "$SYS.";

// eslint-disable-next-line no-control-regex
const FORBIDDEN = /[\u0000-\u0020\u007f-\u009f]/;
const LONE_SURROGATE = /\p{Surrogate}/u;

/** Returns `name` if it is a valid topic (including $SYS. topics). Otherwise throws a RangeError with the reason. */
export function checkTopic(name) {
  check(name, name.split("."));
  return name;
}

function check(name, tokens) {
  const quoted = JSON.stringify(name.slice(0, 80));
  const bytes = Buffer.byteLength(name);
  if (LONE_SURROGATE.test(name)) throw new RangeError(`not UTF-8: ${quoted}`);
  if (bytes < 1 || bytes > TOPIC_BYTES_MAX) {
    throw new RangeError(`expected a name of 1 to ${TOPIC_BYTES_MAX} bytes, got ${bytes}: ${quoted}`);
  }
  if ("+-!{".includes(name[0]) || (name[0] === "$" && !name.startsWith(SYSTEM_PREFIX))) {
    throw new RangeError(`must not begin with + - ! { or $ (except $SYS.): ${quoted}`);
  }
  for (const token of tokens) {
    if (token === "") throw new RangeError(`a token is empty: ${quoted}`);
    if (FORBIDDEN.test(token)) throw new RangeError(`white space or a control character: ${quoted}`);
    if (/[*>]/.test(token)) {
      throw new RangeError(`* and > are for patterns only, each as a whole token, > as the last: ${quoted}`);
    }
  }
}

/** A topic in which `*` stands for exactly one token and a final `>` for one or more. A value. */
export class Pattern {
  #tokens;
  #open;

  /** Throws a RangeError with the reason if `text` is not a valid pattern. */
  constructor(text) {
    this.text = text;
    const tokens = text.split(".");
    this.#open = tokens.at(-1) === ">";
    this.#tokens = this.#open ? tokens.slice(0, -1) : tokens;
    check(text, this.#tokens.filter((token) => token !== "*"));
  }

  /** Whether the pattern is a topic, without wildcards. */
  get isExact() {
    return !this.#open && !this.#tokens.includes("*");
  }

  /** The prefix to subscribe to with a ZeroMQ socket: the text before the first wildcard. */
  get prefix() {
    const wild = this.#tokens.indexOf("*");
    const literal = wild < 0 ? this.#tokens : this.#tokens.slice(0, wild);
    return (wild >= 0 || this.#open ? [...literal, ""] : literal).join(".");
  }

  /** Whether the pattern matches `topic`, which must be a valid topic. */
  matches(topic) {
    const tokens = topic.split(".");
    const wildFirst = this.#tokens.length === 0 || this.#tokens[0] === "*";
    if (wildFirst && topic.startsWith(SYSTEM_PREFIX)) return false;
    const length = this.#tokens.length;
    if (this.#open ? tokens.length <= length : tokens.length !== length) return false;
    return this.#tokens.every((own, at) => own === "*" || own === tokens[at]);
  }
}

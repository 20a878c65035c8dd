// The escapes of the gateway's line protocol, in which one event is one line.

const LETTERS = { n: "\n", r: "\r", t: "\t", "\\": "\\" };
const SHORT = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\" };

// Bytes as characters of the same number, so that they can be replaced whatever they are.
const latin1 = (bytes) => Buffer.from(bytes).toString("latin1");

/** The bytes on one line, a Buffer: \n, \r, \t and \\, and \xNN for the other bytes below 0x20 and for 0x7f. */
export function escape(bytes) {
  const escaped = (byte) => SHORT[byte] ?? `\\x${byte.charCodeAt(0).toString(16).padStart(2, "0")}`;
  // eslint-disable-next-line no-control-regex
  return Buffer.from(latin1(bytes).replace(/[\x00-\x1f\x7f\\]/g, escaped), "latin1");
}

/** Undoes escape(); an escape that it does not know stands as it is. */
export function unescape(bytes) {
  const plain = (_, letter, hex) => (letter ? LETTERS[letter] : String.fromCharCode(parseInt(hex, 16)));
  return Buffer.from(latin1(bytes).replace(/\\(?:([nrt\\])|x([0-9a-fA-F]{2}))/g, plain), "latin1");
}

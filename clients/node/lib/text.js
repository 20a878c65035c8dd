// The escapes of the gateway's line protocol, which puts each event on one line.

const LETTERS = { n: "\n", r: "\r", t: "\t", "\\": "\\" };
const SHORT = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\" };

// Maps bytes to characters one to one, so that any byte can be replaced.
const latin1 = (bytes) => Buffer.from(bytes).toString("latin1");

/** The bytes on one line, a Buffer: \n, \r, \t and \\, and \xNN for the other bytes below 0x20 and for 0x7f. */
export function escape(bytes) {
  const escaped = (byte) => SHORT[byte] ?? `\\x${byte.charCodeAt(0).toString(16).padStart(2, "0")}`;
  // eslint-disable-next-line no-control-regex
  return Buffer.from(latin1(bytes).replace(/[\x00-\x1f\x7f\\]/g, escaped), "latin1");
}

/** Reverses escape(). Unknown escapes are left unchanged. */
export function unescape(bytes) {
  const plain = (_, letter, hex) => (letter ? LETTERS[letter] : String.fromCharCode(parseInt(hex, 16)));
  return Buffer.from(latin1(bytes).replace(/\\(?:([nrt\\])|x([0-9a-fA-F]{2}))/g, plain), "latin1");
}

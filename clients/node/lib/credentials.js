// The keys with which a program connects to brokers that require them, from files.

import { createPrivateKey, createPublicKey } from "node:crypto";
import { closeSync, constants, fstatSync, openSync, readSync, realpathSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { getSystemErrorMap } from "node:util";
import { capability } from "zeromq";
import { escape } from "./text.js";

const KEY_VARIABLE = "BACKPLANE_KEY_FILE";
const SERVER_KEY_VARIABLE = "BACKPLANE_SERVER_KEY_FILE";

const Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
const KEY_TEXT_BYTES = 40;
const FILE_BYTES_MAX = 256; // a key and its line ending
const X25519_PKCS8 = Buffer.from("302e020100300506032b656e04220420", "hex"); // what precedes a secret key in DER

/** The keys of connections to a broker, and the files that they come from. */
export class Keys {
  #options;

  /** `secret` and `serverKey` are in Z85. */
  constructor(secret, serverKey, keyFile, serverKeyFile) {
    this.#options = { curveSecretKey: secret, curvePublicKey: publicKeyOf(secret), curveServerKey: serverKey };
    this.keyFile = keyFile;
    this.serverKeyFile = serverKeyFile;
  }

  /** Options of a ZeroMQ socket. */
  get options() {
    return this.#options;
  }
}

/** Reads the files that the options name, or, where an option is missing, BACKPLANE_KEY_FILE and BACKPLANE_SERVER_KEY_FILE.
 * null if nothing is given. Throws a RangeError, with a text that begins with the option or variable and never contains a
 * key: if one file is given without the other, if it has no key, or if other users can change it or read the secret key. */
export function readKeys(keyFile, serverKeyFile) {
  const key = given("keyFile", keyFile, KEY_VARIABLE);
  const serverKey = given("serverKeyFile", serverKeyFile, SERVER_KEY_VARIABLE);
  if (!key && !serverKey) return null;
  if (!serverKey) {
    throw new RangeError(`${key.where}: expected a server key with it (serverKeyFile or ${SERVER_KEY_VARIABLE}), got none`);
  }
  if (!key) throw new RangeError(`${serverKey.where}: expected a key with it (keyFile or ${KEY_VARIABLE}), got none`);
  if (!capability.curve) {
    throw new RangeError(`${key.where}: expected a zeromq with CURVE, got one that was built without it`);
  }
  return new Keys(readKey(key, true), readKey(serverKey, false), key.file, serverKey.file);
}

function given(option, file, variable) {
  const isOption = file !== undefined && file !== null;
  const where = isOption ? option : variable;
  const value = isOption ? String(file) : process.env[variable];
  if (value === "") throw new RangeError(`${where}: expected a value, got none`);
  return value === undefined ? null : { where, file: value };
}

function readKey({ where, file }, isSecret) {
  const name = escape(file).toString();
  let text;
  try {
    text = readProtected(file, name, isSecret).replace(/[\r\n ]+$/, "");
  } catch (error) {
    if (error instanceof RangeError) throw new RangeError(`${where}: ${error.message}`);
    if (error.code === undefined) throw error;
    throw new RangeError(`${where}: cannot read ${name}: ${reasonOf(error)}`);
  }
  decode(text, `${where}: ${name}`);
  return text;
}

function reasonOf({ code, errno }) {
  return code === "ENOENT" ? "no such file" : getSystemErrorMap().get(errno)?.[1] ?? code;
}

function readProtected(file, name, isSecret) {
  // Without O_NONBLOCK, opening a named pipe waits for a writer.
  const descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    checkAccess(fstatSync(descriptor), file, name, isSecret);
    const content = Buffer.alloc(FILE_BYTES_MAX + 1);
    const size = readSync(descriptor, content);
    if (size > FILE_BYTES_MAX) throw new RangeError(`${name}: expected at most ${FILE_BYTES_MAX} bytes, got more`);
    return content.toString("latin1", 0, size);
  } finally {
    closeSync(descriptor);
  }
}

/** Refuses a file that other users can change, or, if it is secret, read. The owner's group counts as other users; root
 * does not. */
function checkAccess(found, file, name, isSecret) {
  const refuse = (expected, got) => { throw new RangeError(`${name}: expected ${expected}, got ${got}`); };
  if (!found.isFile()) refuse("a regular file", found.isDirectory() ? "a folder" : "a device, a pipe or a socket");
  if (found.uid !== process.geteuid() && found.uid !== 0) {
    refuse("a file of this user or of root", `one of user ${found.uid}`);
  }
  const mode = found.mode & 0o7777;
  const shown = `mode ${mode.toString(8).padStart(4, "0")}`;
  if (isSecret && mode & 0o066) {
    refuse("a file that other users can neither read nor write", `${shown} (use chmod 600)`);
  }
  if (mode & 0o022) refuse("a file that other users cannot write", `${shown} (use chmod go-w)`);
  for (const path of [resolve(file), realpathSync(file)]) {
    const folder = dirname(path);
    const { mode: folderMode } = statSync(folder);
    if (folderMode & constants.S_IWOTH && !(folderMode & 0o1000)) {
      refuse("a folder in which other users cannot replace the file", escape(folder).toString());
    }
  }
}

/** The 32 bytes of a key in Z85. Throws a RangeError that begins with `where`. */
function decode(text, where) {
  const refuse = (got) => {
    throw new RangeError(`${where}: expected a key of ${KEY_TEXT_BYTES} Z85 characters, got ${got}`);
  };
  if (text.length !== KEY_TEXT_BYTES) refuse(`${text.length} characters`);
  const bytes = Buffer.alloc(32);
  for (let begin = 0; begin < text.length; begin += 5) {
    let number = 0;
    for (let place = begin; place < begin + 5; ++place) {
      const value = Z85.indexOf(text[place]);
      if (value < 0) refuse(`another character at ${place + 1}`);
      number = number * 85 + value;
    }
    if (number >= 2 ** 32) refuse(`too large a number at ${begin + 1}`); // five digits can express more than 32 bits
    bytes.writeUInt32BE(number, begin / 5 * 4);
  }
  return bytes;
}

function encode(bytes) {
  let text = "";
  for (let begin = 0; begin < bytes.length; begin += 4) {
    let number = bytes.readUInt32BE(begin);
    let digits = "";
    for (let place = 0; place < 5; ++place) {
      digits = Z85[number % 85] + digits;
      number = Math.floor(number / 85);
    }
    text += digits;
  }
  return text;
}

/** zeromq.js can create pairs of keys, but not compute the public half of one. CURVE's keys are those of X25519. */
function publicKeyOf(secret) {
  const key = Buffer.concat([X25519_PKCS8, decode(secret, "key")]);
  const publicKey = createPublicKey(createPrivateKey({ key, format: "der", type: "pkcs8" }));
  return encode(publicKey.export({ format: "der", type: "spki" }).subarray(-32));
}

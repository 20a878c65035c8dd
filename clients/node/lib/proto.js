// The messages of proto/, loaded from its .proto files.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";
import descriptor from "protobufjs/ext/descriptor/index.js";
import { toJson } from "./proto_json.js";

// In a package from `npm pack`, or in the source tree.
const PROTO = ["../proto", "../../../proto"].map((place) => fileURLToPath(new URL(place, import.meta.url))).find(existsSync);
const PROTOBUFJS = path.dirname(createRequire(import.meta.url).resolve("protobufjs/package.json"));
const ADDED_BYTES_MAX = 64 << 20; // definitions of all types that are added
const TYPE_URL = "type.googleapis.com/";
const IMPORT = /(?:^|;)\s*import\s+(?:public\s+|weak\s+)?"([^"]+)"\s*(?=;)/gm;

const root = new protobuf.Root();
// protobufjs finds its built-in types by itself; it has google/protobuf/descriptor.proto as a file.
root.resolvePath = (_, target) => path.resolve(target.startsWith("google/") ? PROTOBUFJS : PROTO, target);
for (const folder of ["backplane/v1", "backplane/events/v1"]) {
  const files = readdirSync(path.join(PROTO, folder)).filter((name) => name.endsWith(".proto"));
  loadTypes(...files.map((name) => `${folder}/${name}`));
}

/** Loads more .proto files, so that message() and Event.unpack() know their types. Throws if one cannot be read. */
export function loadTypes(...files) {
  root.loadSync(files, { keepCase: true });
}

const added = new Map(); // types of addTypes() by full name
let addedBytes = 0;

/** Adds the types of FileDescriptorSets (bytes), with everything that they import among them, except Google's. Types that
 * are known stay as they are. Throws if the definitions are not valid. */
export function addTypes(...sets) {
  const files = sets.flatMap((bytes) => descriptor.FileDescriptorSet.decode(bytes).file);
  const size = sets.reduce((sum, bytes) => sum + bytes.length, 0);
  if (addedBytes + size > ADDED_BYTES_MAX) {
    throw new RangeError(`types: expected definitions of at most ${ADDED_BYTES_MAX} bytes in all`);
  }
  const other = new protobuf.Root();
  addGoogleTypes(other);
  for (const file of files) {
    if (file.name.startsWith("google/protobuf/")) continue;
    const scope = file.package ? other.define(file.package) : other;
    const context = { edition: file.syntax || "proto2", keepCase: true };
    for (const each of file.messageType) scope.add(protobuf.Type.fromDescriptor(each, context));
    for (const each of file.enumType) scope.add(protobuf.Enum.fromDescriptor(each, context));
  }
  other.resolveAll();
  addedBytes += size;
  const add = (namespace) => {
    for (const member of namespace.nestedArray) {
      const name = member.fullName.slice(1);
      if (member instanceof protobuf.Type && !name.startsWith("google.protobuf.") && !typeNamed(name)) added.set(name, member);
      if (member.nestedArray) add(member);
    }
  };
  add(other);
}

/** Those that protobufjs has built in. */
function addGoogleTypes(to) {
  const google = to.define("google.protobuf");
  for (const [file, { nested }] of Object.entries(protobuf.common)) {
    const types = file.startsWith("google/") ? nested.google.nested.protobuf.nested : {};
    for (const [name, json] of Object.entries(types)) {
      if (!google.get(name)) google.add(json.fields ? protobuf.Type.fromJSON(name, json) : protobuf.Enum.fromJSON(name, json));
    }
  }
}

/** The FileDescriptorSet in a reply to a request for types: both as bytes. */
export function filesOf(reply) {
  const { files } = root.lookupType("backplane.v1.ControlReply").decode(reply).types;
  return root.lookupType("google.protobuf.FileDescriptorSet").encode(files ?? {}).finish();
}

const typeNamed = (name) => root.lookup(name, [protobuf.Type]) ?? added.get(name) ?? null;

function knownType(name) {
  const type = typeNamed(name);
  if (!type) throw new RangeError(`expected the name of a known type, got ${JSON.stringify(name)}; see loadTypes()`);
  return type;
}

/** Encodes a message of the type with this full name. 64-bit fields accept BigInt or number. */
export function encode(typeName, fields) {
  const type = knownType(typeName);
  return type.encode(type.fromObject(fields)).finish();
}

/** Decodes a message to its fields, including defaults; 64-bit fields are BigInt. JSON.stringify() accepts it. Throws for
 * invalid bytes. */
export function decode(typeName, bytes) {
  const type = knownType(typeName);
  return forJson(type.toObject(type.decode(bytes), { longs: BigInt, defaults: true, oneofs: true }));
}

/** A value that JSON.stringify() accepts: 64-bit numbers as strings, as in protobuf's JSON; bytes as base64. */
export function plain(value) {
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.length).toString("base64");
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, plain(each)]));
}

const TO_JSON = { value() { return plain(this); }, enumerable: false };

/** Gives the object, and those within it, a toJSON() that is not one of their fields. */
export function forJson(object) {
  Object.defineProperty(object, "toJSON", TO_JSON);
  for (const each of Object.values(object)) {
    if (each !== null && typeof each === "object" && Object.getPrototypeOf(each) === Object.prototype) forJson(each);
  }
  return object;
}

/** A message payload for Publisher.publish(), of the type with this full name:
 * message("backplane.events.v1.Quote", { symbol: "MSFT", price: 39.81 }). Throws a RangeError if the type is not known. */
export function message(typeName, fields) {
  return { type_url: TYPE_URL + typeName, value: encode(typeName, fields) };
}

/** Whether the definition of the type with this full name is known. */
export function isKnownType(typeName) {
  return typeNamed(typeName) !== null;
}

/** The message in an Any as protobuf's JSON, with its fields by their names in the definition and defaults included. If
 * its type is not known, or its bytes are not of the type, an object with its "@type" and "value" (base64). */
export function jsonOfAny(any) {
  const type = typeNamed(typeOf(any));
  try {
    if (type) return toJson(type, type.decode(any.value), typeNamed);
  } catch {
    // not valid bytes, a time outside the calendar, an Any of an unknown type within it
  }
  return { "@type": any.type_url, value: plain(any.value) };
}

/** The files that define these types, and their imports, as a FileDescriptorSet. Excludes Google's files, which every
 * broker has. Throws for an unknown type. */
export function fileDescriptorSet(typeNames) {
  root.resolveAll();
  const defined = new Map(); // by the path of the file
  collect(root, defined);
  const files = new Map();
  const add = (name, filename) => {
    if (name.startsWith("google/protobuf/") || files.has(name)) return;
    const { types, enums, scope } = defined.get(filename) ?? { types: [], enums: [], scope: "" };
    const dependency = [...readFileSync(filename, "utf8").matchAll(IMPORT)].map(([, imported]) => imported);
    files.set(name, descriptor.FileDescriptorProto.create({
      name, package: scope, syntax: "proto3", dependency,
      messageType: types.map(describe), enumType: enums.map((each) => each.toDescriptor("proto3")),
    }));
    for (const each of dependency) add(each, root.resolvePath(filename, each));
  };
  for (const typeName of typeNames) {
    let type = root.lookup(typeName, [protobuf.Type]);
    if (!type && added.has(typeName)) continue; // a broker has it
    if (!type) knownType(typeName);
    while (type.parent instanceof protobuf.Type) type = type.parent;
    if (type.filename) add(importName(type.filename), type.filename); // otherwise built into protobufjs: Google's
  }
  const set = descriptor.FileDescriptorSet.create({ file: [...files.values()] });
  return root.lookupType("google.protobuf.FileDescriptorSet").decode(descriptor.FileDescriptorSet.encode(set).finish());
}

function collect(namespace, defined) {
  for (const member of namespace.nestedArray) {
    const isType = member instanceof protobuf.Type;
    if (!isType && !(member instanceof protobuf.Enum)) {
      if (member instanceof protobuf.Namespace) collect(member, defined);
      continue;
    }
    const { filename, parent } = member;
    if (!defined.has(filename)) defined.set(filename, { types: [], enums: [], scope: parent.fullName.slice(1) });
    defined.get(filename)[isType ? "types" : "enums"].push(member);
  }
}

/** The descriptor as protoc would write it: with full type names, and with the required names of map entries. */
function describe(type) {
  const described = type.toDescriptor("proto3");
  const nested = type.nestedArray.filter((member) => member instanceof protobuf.Type).map(describe);
  described.nestedType = described.nestedType.map((each) => nested.find(({ name }) => name === each.name) ?? each);
  for (const field of type.fieldsArray) {
    const written = described.field.find(({ number }) => number === field.id);
    if (!field.map) {
      if (field.resolvedType) written.typeName = field.resolvedType.fullName;
      continue;
    }
    const entry = described.nestedType.find(({ name, options }) => name === written.typeName && options?.mapEntry);
    entry.name = `${field.name.replace(/(?:^|_+)([a-z0-9])/g, (_, letter) => letter.toUpperCase())}Entry`;
    written.typeName = `${type.fullName}.${entry.name}`;
    if (field.resolvedType) entry.field[1].typeName = field.resolvedType.fullName;
  }
  return described;
}

/** The name under which other files import this file. */
function importName(filename) {
  const folder = [PROTO, PROTOBUFJS].find((each) => filename.startsWith(each));
  return folder ? path.relative(folder, filename) : path.basename(filename);
}

/** The full name of the type in an Any. */
export const typeOf = (any) => any.type_url.slice(any.type_url.lastIndexOf("/") + 1);

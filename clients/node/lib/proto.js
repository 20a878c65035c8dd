// The messages of proto/, read from the .proto files as they stand there.

import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";

const PROTO = fileURLToPath(new URL("../../../proto", import.meta.url));
const PROTOBUFJS = path.dirname(createRequire(import.meta.url).resolve("protobufjs/package.json"));
const TYPE_URL = "type.googleapis.com/";

const root = new protobuf.Root();
// What protobufjs has built in it finds by itself; google/protobuf/descriptor.proto it has as a file.
root.resolvePath = (_, target) => path.resolve(target.startsWith("google/") ? PROTOBUFJS : PROTO, target);
for (const folder of ["backplane/v1", "backplane/events/v1"]) {
  const files = readdirSync(path.join(PROTO, folder)).filter((name) => name.endsWith(".proto"));
  loadTypes(...files.map((name) => `${folder}/${name}`));
}

/** Reads more .proto files, so that message() and Event.unpack() know their types. Throws where one cannot be read. */
export function loadTypes(...files) {
  root.loadSync(files, { keepCase: true });
}

/** The bytes of a message of the type with this full name. 64-bit fields take BigInt or number. */
export function encode(typeName, fields) {
  const type = root.lookupType(typeName);
  return type.encode(type.fromObject(fields)).finish();
}

/** A message's fields, those at their default included; 64-bit ones are BigInt. Throws for bytes that are none. */
export function decode(typeName, bytes) {
  const type = root.lookupType(typeName);
  return type.toObject(type.decode(bytes), { longs: BigInt, defaults: true, oneofs: true });
}

/** A typed payload, for Publisher.publish(): message("backplane.events.v1.Quote", { symbol: "MSFT", price: 39.81 }). */
export function message(typeName, fields) {
  return { type_url: TYPE_URL + typeName, value: encode(typeName, fields) };
}

/** The full name of the type in an Any. */
export const typeOf = (any) => any.type_url.slice(any.type_url.lastIndexOf("/") + 1);

// A message in protobuf's JSON, as the gateway writes it: fields by their names in the definition, defaults included.

import protobuf from "protobufjs";
import protojson from "protobufjs/ext/protojson.js";

const DEPTH_MAX = 100;
const LONGS = new Set(["int64", "uint64", "sint64", "fixed64", "sfixed64"]);
const UNSIGNED = new Set(["uint64", "fixed64"]);
const ANY = ".google.protobuf.Any";
const WELL_KNOWN = new Set(["Timestamp", "Duration", "FieldMask", "Struct", "Value", "ListValue", "DoubleValue", "FloatValue",
  "Int64Value", "UInt64Value", "Int32Value", "UInt32Value", "BoolValue", "StringValue", "BytesValue"]
  .map((name) => `.google.protobuf.${name}`));

/** `message` is a decoded one of `type`. `typeNamed` finds the type in an Any by its full name. Throws if it cannot be
 * shown: a time outside the calendar, an Any of an unknown type. */
export function toJson(type, message, typeNamed, depth = 0) {
  if (depth > DEPTH_MAX) throw new RangeError(`expected at most ${DEPTH_MAX} messages within each other`);
  if (type.fullName === ANY) return anyToJson(message, typeNamed, depth);
  if (WELL_KNOWN.has(type.fullName)) return protojson.toJson(type, message);
  const shown = {};
  for (const field of type.fieldsArray) {
    field.resolve();
    const isSet = Object.hasOwn(message, field.name) && message[field.name] !== null && message[field.name] !== undefined;
    const one = (value) => singular(field, value, typeNamed, depth);
    if (field.map) {
      const entries = Object.entries(isSet ? message[field.name] : {});
      set(shown, field.name, Object.fromEntries(entries.map(([key, value]) => [mapKey(field, key), one(value)])));
    } else if (field.repeated) {
      set(shown, field.name, isSet ? message[field.name].map(one) : []);
    } else if (isSet || !hasPresence(field)) {
      set(shown, field.name, one(isSet ? message[field.name] : field.typeDefault));
    }
  }
  return shown;
}

const hasPresence = (field) => field.hasPresence || field.partOf || field.resolvedType instanceof protobuf.Type;

/** Also for a field named __proto__. */
function set(object, name, value) {
  Object.defineProperty(object, name, { value, enumerable: true, writable: true, configurable: true });
}

const mapKey = ({ keyType }, key) => (LONGS.has(keyType)
  ? protobuf.util.longFromKey(key, UNSIGNED.has(keyType)).toString() : key);

function singular({ type, resolvedType }, value, typeNamed, depth) {
  if (resolvedType instanceof protobuf.Type) return toJson(resolvedType, value, typeNamed, depth + 1);
  if (resolvedType instanceof protobuf.Enum) {
    return resolvedType.fullName === ".google.protobuf.NullValue" ? null : resolvedType.valuesById[value] ?? value;
  }
  if (LONGS.has(type)) return value.toString();
  if (type === "bytes") return Buffer.from(value).toString("base64");
  if (type === "float" || type === "double") {
    if (!Number.isFinite(value)) return String(value);
    return type === "float" ? shortestFloat(value) : value;
  }
  return value;
}

/** The number with the fewest digits that is the same in 32 bits. */
function shortestFloat(value) {
  for (let digits = 6; digits < 9; ++digits) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}

function anyToJson({ type_url: url, value }, typeNamed, depth) {
  if (!url) return {};
  const type = typeNamed(url.slice(url.lastIndexOf("/") + 1));
  if (!type) throw new RangeError(`unknown type: ${url}`);
  const shown = toJson(type, type.decode(value), typeNamed, depth + 1);
  return type.fullName === ANY || WELL_KNOWN.has(type.fullName) ? { "@type": url, value: shown } : { "@type": url, ...shown };
}

// The types of index.js. Its comments say what everything does; each "ms" is a time in milliseconds.

/** One endpoint, or one for each broker of a list. */
export type Endpoints = string | readonly string[];

/** How long a call may wait, in ms. */
export interface Timeout {
  timeout?: number;
}

/** Files with the keys of this program and of the brokers; if missing, BACKPLANE_KEY_FILE and BACKPLANE_SERVER_KEY_FILE name
 * them. */
export interface KeyFiles {
  keyFile?: string;
  serverKeyFile?: string;
}

/** The event as its publisher sent it: the fields of backplane.v1.Event. */
export interface EventBody {
  source: string;
  session: bigint;
  sequence: bigint;
  time: { seconds: bigint; nanos: number } | null;
  attributes: Record<string, string>;
  payload?: "message" | "text" | "binary";
  message?: Any;
  text?: string;
  binary?: Uint8Array;
}

/** A message that is not decoded. */
export interface Any {
  type_url: string;
  value: Uint8Array;
}

/** The fields of a message, by their names in its definition. 64-bit numbers are BigInt. */
export type Fields = Record<string, any>;

/** What the broker adds to an event that it has admitted. */
export interface Stamp {
  /** Upper 32 bits: which broker and backplane; lower 32: which incarnation. */
  stream: bigint;
  /** 1, 2, 3, … in the stream, over all topics. */
  position: bigint;
  /** 1, 2, 3, … in the topic; 0: not numbered. */
  offset: bigint;
  /** Position of the topic's previous event; 0 for its first. */
  previous: bigint;
  /** Unix time at the broker, in nanoseconds. */
  received_ns: bigint;
}

export interface EventJson {
  topic: string;
  stream: string;
  position: number;
  offset: number;
  time: string | null;
  received: string;
  source: string;
  sequence: number;
  type: string;
  late?: true;
  attributes?: Record<string, string>;
  data?: any;
  text?: string;
  base64?: string;
}

export class Event {
  constructor(topic: string, bytes: Uint8Array, stamp: Stamp, options?: { fromHistory?: boolean; late?: boolean });
  readonly topic: string;
  readonly body: EventBody;
  readonly stamp: Stamp;
  /** A retained value, or from the history that `since` put first. */
  readonly fromHistory: boolean;
  /** Events of the stream with higher positions, of other topics, have come before it. */
  readonly late: boolean;
  /** The payload if it is text, else "". */
  get text(): string;
  /** The full name of the payload's type if it is a message, else "". */
  get type(): string;
  /** Text, bytes, the fields of a message, or null. A message whose type is not known is an Any. */
  get payload(): string | Uint8Array | Fields | Any | null;
  /** The fields of the payload if it is a message of this type, else null. */
  unpack<T = Fields>(typeName: string): T | null;
  /** When the event happened according to its publisher, in Unix nanoseconds; null if that is not given. */
  get timeNs(): bigint | null;
  /** The event as the gateway writes it in JSON. */
  toJSON(): EventJson;
}

export class Gap {
  constructor(stream: bigint, topic: string, first: bigint, last: bigint, reason: Gap["reason"]);
  readonly stream: bigint;
  readonly topic: string;
  /** The first offset that is lost; 0n: unknown. */
  readonly first: bigint;
  readonly last: bigint;
  readonly reason: "history_gone" | "recovery_timeout" | "damaged" | "lost_upstream" | "undecodable";
  toJSON(): { gap: { topic: string; stream: string; first: number; last: number; reason: string } };
}

export class Reset {
  constructor(oldStream: bigint, newStream: bigint);
  readonly oldStream: bigint;
  readonly newStream: bigint;
  toJSON(): { reset: { old_stream: string; stream: string } };
}

export type Item = Event | Gap | Reset;

export interface SubscriberOptions extends KeyFiles {
  egress?: Endpoints;
  control?: Endpoints;
  /** The last value of each topic comes first. Not together with `since`. */
  last?: boolean;
  /** A resume token, a duration such as "10m", a Date, or an offset of the one topic: history comes first. */
  since?: string | bigint | number | Date | null;
  /** One event per topic in this time (ms, or "5s"). */
  every?: number | string | null;
  /** What `backplane top` shows; "": nothing. */
  name?: string | null;
}

export class Subscriber implements AsyncIterable<Item> {
  constructor(patterns: readonly string[], options?: SubscriberOptions);
  readonly closed: boolean;
  get live(): boolean;
  get duplicates(): number;
  get recovered(): number;
  get undecodable(): number;
  get lost(): number;
  get name(): string;
  get lastProblem(): string;
  /** Resolves when the subscriptions are active. Rejects with TimeoutError or AuthenticationError. */
  waitLive(options?: Timeout): Promise<void>;
  /** The next item; null if there is none within `timeout`, or after close(). */
  receive(options?: Timeout): Promise<Item | null>;
  [Symbol.asyncIterator](): AsyncGenerator<Item, void, undefined>;
  /** Where another Subscriber continues with `since`. */
  resumeToken(): string;
  close(): void;
}

export interface PublisherOptions extends KeyFiles {
  ingress?: Endpoints;
  control?: Endpoints;
  /** Limit of the events that wait for the broker. */
  unconfirmedBytesMax?: number;
  /** A limit of your own, below the broker's. */
  eventBytesMax?: number | null;
}

export interface PublishOptions extends Timeout {
  /** When it happened (Unix, nanoseconds); default: now. */
  timeNs?: bigint;
  attributes?: Record<string, string>;
}

/** Text, bytes, a message (from message()), or null, which clears the topic's retained value. */
export type Payload = string | Uint8Array | Any | null;

export class Publisher {
  constructor(source: string, options?: PublisherOptions);
  readonly source: string;
  readonly closed: boolean;
  get session(): bigint;
  get offered(): number;
  get confirmed(): number;
  get refused(): number;
  get resent(): number;
  get inDoubt(): number;
  get lastProblem(): string;
  /** Resolves when a broker is connected. */
  waitReady(options?: Timeout): Promise<void>;
  /** Queues an event. Waits only if the limit on unconfirmed events is reached. */
  publish(topic: string, payload: Payload, options?: PublishOptions): Promise<void>;
  /** Resolves when the broker has admitted everything. Rejects with TimeoutError or Refused. */
  flush(options?: Timeout): Promise<void>;
  /** Calls flush(), then closes the publisher in any case. */
  close(options?: Timeout): Promise<void>;
}

export interface ReplayOptions extends Timeout {
  after?: { stream: bigint; position: bigint };
  afterOffset?: bigint | number;
  /** Unix time in nanoseconds. */
  sinceNs?: bigint | number;
  /** ms before now, by the broker's clock. */
  sinceAgo?: number;
  /** The last position; 0n: the newest event. */
  until?: bigint;
}

export interface Tail {
  topic: string;
  position: bigint;
  offset: bigint;
}

export class Control {
  constructor(endpoint?: string, options?: KeyFiles);
  /** The last event of each matching topic, ordered by topic name. */
  last(pattern: string, options?: Timeout): Promise<Event[]>;
  /** History in order of positions. Throws HistoryGone if some of it is no longer available. */
  replay(pattern: string, options?: ReplayOptions): AsyncGenerator<Event, void, undefined>;
  tails(patterns: readonly string[], after?: bigint, options?: Timeout):
    Promise<{ stream: bigint; position: bigint; tails: Tail[] }>;
  /** Registers the definitions of types, by full name. */
  register(typeNames: readonly string[], options?: Timeout): Promise<void>;
  /** Sends one request, { [name]: fields }, and resolves to its reply. */
  ask(request: Fields, options?: Timeout): Promise<Fields>;
  close(): void;
}

/** The call did not complete within its timeout. */
export class TimeoutError extends Error {}
/** The broker refused events of this publisher. */
export class Refused extends Error {}
/** The broker refused a request. `code` is a word for programs to test. */
export class ControlError extends Error {
  readonly code: string;
}
/** A broker and this program do not agree on keys. */
export class AuthenticationError extends Error {
  readonly code: "key_refused" | "wrong_server_key" | "keys_required" | "keys_not_used" | "not_checked";
}
/** Some of the requested history is no longer available. */
export class HistoryGone extends Error {
  readonly firstAvailable: bigint;
  readonly firstAvailableOffset: bigint;
}

export const DEFAULT_INGRESS: string;
export const DEFAULT_EGRESS: string;
export const DEFAULT_CONTROL: string;

/** Loads .proto files, so that message(), Event.payload and Event.unpack() know their types. */
export function loadTypes(...files: string[]): void;
/** A message payload of the type with this full name. */
export function message(typeName: string, fields: Fields): Any;
/** Reads the stamp from the end of an event's bytes; null if there is none. */
export function readStamp(event: Uint8Array): Stamp | null;
/** Returns the name if it is a valid topic, else throws a RangeError. */
export function checkTopic(name: string): string;
export class Pattern {
  constructor(text: string);
  readonly text: string;
  get isExact(): boolean;
  get prefix(): string;
  matches(topic: string): boolean;
}
/** The bytes on one line, as in the gateway's line protocol. */
export function escape(bytes: Uint8Array | string): Uint8Array;
/** Reverses escape(). */
export function unescape(bytes: Uint8Array | string): Uint8Array;

// One broker of a reader's list: its live events and its control endpoint.

import { randomBytes } from "node:crypto";
import { Subscriber as Sub } from "zeromq";
import { Addresses } from "./addresses.js";
import { ControlChannel } from "./channel.js";
import { Handshake } from "./handshake.js";
import { Mailbox } from "./mailbox.js";
import { now } from "./time.js";
import { readStamp } from "./wire.js";

const LIVE_INTERVAL_MS = 1000; // from a live reply to the next nonce
const LIVE_TIMEOUT_MS = 2000; // a nonce that has not been answered by then is replaced by another one
const SILENT_MS = 300; // after this long without a live reply, the broker may not accept our keys
const SILENCE_MS = 10_000; // after this long without any message, the connection is begun again
const CONTROL_SILENCE_MS = 30_000; // the same for the control connection: a long reply over a slow path takes its time
const RECONNECT_MS = [50, 500]; // libzmq's pause between two attempts: at first, and at most
const HELLO_INTERVAL_MS = 1000;
const HELLO_TIMEOUT_MS = 4000; // after a restart of the broker, the next one follows by then
const GOODBYE_MS = 200; // how long the closing Hello may take to leave
const ROLE_CLIENT = 3;
const TURN_MESSAGES = 256;
const EARLY_BYTES_MAX = 16 << 20;
const ZMQ_SNDHWM = 23;

/** Subscriptions are messages too: at the default high-water mark, many at once would be lost. */
class UnboundedSub extends Sub {
  constructor(options) {
    super(options);
    this.setInt32Option(ZMQ_SNDHWM, 0);
  }
}

/** Subscribes at one broker. libzmq renews the connection, and what was received before it was lost stays in the queue. A
 * new nonce every second shows whether the subscriptions are active. Owns its sockets.
 *
 * The stream that the broker has now is read by a StreamReader, which `attach(reader, stamp of the live reply)` returns.
 * `replaced(reader, old stream, new stream)` is called when the broker has come back with another stream, before anything
 * of that stream is delivered. */
export class BrokerReader {
  static receivedMax = 100_000; // messages in libzmq's queue

  live = false; // whether the last nonce was answered in time
  stream = null; // the StreamReader, after the first live reply of the stream
  previous = null; // the stream before this one

  #addresses;
  #egress; // the present one of them
  #patterns;
  #attach;
  #replaced;
  #counters;
  #handshake;
  #socket;
  #mailbox;
  #streamId = null;
  #ended = new Set();
  #early = []; // events of a stream without a live reply yet
  #earlyBytes = 0;
  #liveTopic = null;
  #askedAt = 0;
  #askAt = 0;
  #heardAt = now();
  #drained = false;
  #name;
  #session = randomBytes(8).readBigUInt64LE() || 1n;
  #helloAt = 0;
  #helloPending = false;
  #helloSent = false;

  /** Connects in the background. `name` is said to the broker once a second while it replies; "": it is not. Throws for an
   * invalid endpoint. */
  constructor({ egress, control }, patterns, { attach, replaced, counters, keys, name }) {
    this.#name = name;
    this.#addresses = new Addresses(egress);
    this.#egress = this.#addresses.current;
    this.#patterns = patterns;
    this.#attach = attach;
    this.#replaced = replaced;
    this.#counters = counters;
    this.#handshake = new Handshake(Sub, egress, keys);
    this.channel = new ControlChannel(control, CONTROL_SILENCE_MS, keys);
    this.#socket = new UnboundedSub({
      linger: 0, receiveHighWaterMark: BrokerReader.receivedMax, ipv6: this.#egress.includes("["),
      reconnectInterval: RECONNECT_MS[0], reconnectMaxInterval: RECONNECT_MS[1],
      // No heartbeats: if a broker goes away while messages are unread at the mark, the next heartbeat makes libzmq abort
      // the process. The nonces show whether the connection is alive.
      tcpKeepalive: 1, tcpKeepaliveIdle: 2, tcpKeepaliveInterval: 2, tcpKeepaliveCount: 2,
      ...this.#handshake.options,
    });
    this.#mailbox = new Mailbox(this.#socket);
    try {
      this.#socket.connect(this.#egress);
    } catch (error) {
      this.close();
      throw error;
    }
    // The socket is already connecting, so subscriptions are sent in this order.
    for (const { prefix } of patterns) this.#socket.subscribe(prefix);
    this.#ask(this.#heardAt);
  }

  close() {
    const saysGoodbye = this.live && this.#helloSent && !this.channel.closed;
    this.live = false;
    this.#handshake.close();
    this.#socket.close();
    if (saysGoodbye) this.#sayHello({ closing: true });
    this.channel.close(saysGoodbye ? GOODBYE_MS : 0);
  }

  /** Why the broker does not accept this program; null as far as is known. */
  get problem() {
    return this.#handshake.problem ?? this.channel.handshake.problem;
  }

  /** The problem, once for each failed attempt. */
  takeProblem() {
    const [problem, other] = [this.#handshake.take(), this.channel.handshake.take()];
    return problem ?? other;
  }

  /** Handles what has arrived, up to a limit, and what is due. Resolves to whether there may be more. */
  async work() {
    this.#drained = !(await this.#receive());
    await this.channel.poll();
    if (this.#socket.closed) return false;
    const time = now();
    this.#keepLive(time);
    this.stream?.work(time, this.#drained);
    if (this.#saysHello() && time >= this.#helloAt) {
      this.#helloAt = time + HELLO_INTERVAL_MS;
      this.#sayHello();
    }
    return !this.#drained;
  }

  /** Resolves when a message has arrived, or after at most 100 ms. */
  wait() {
    return Promise.race([this.#mailbox.wait(), this.channel.wait()]);
  }

  /** When work() has something to do even if nothing arrives. */
  due() {
    const live = this.#liveTopic ? this.#askedAt + LIVE_TIMEOUT_MS : this.#askAt;
    const hello = this.#saysHello() ? this.#helloAt : Infinity;
    return Math.min(live, hello, this.channel.due(), this.stream?.due(this.#drained) ?? Infinity);
  }

  #saysHello() {
    return this.#name !== "" && this.live && !this.#helloPending;
  }

  #sayHello({ closing = false } = {}) {
    this.#helloPending = true;
    this.#helloSent = true;
    const hello = { name: this.#name, session: this.#session, role: ROLE_CLIENT, closing, counters: { ...this.#counters } };
    this.channel.request({ hello }, HELLO_TIMEOUT_MS, () => { this.#helloPending = false; });
  }

  // Messages.

  async #receive() {
    for (let count = 0; count < TURN_MESSAGES; ++count) {
      const frames = await this.#mailbox.take();
      if (!frames) return false;
      this.#onMessage(frames);
    }
    return true;
  }

  #onMessage(frames) {
    this.#heardAt = now();
    this.#handshake.onMessage();
    const stamp = readStamp(frames.at(-1));
    if (frames.length !== 2 || !stamp) {
      this.#counters.undecodable += 1;
      return;
    }
    const topic = frames[0].toString();
    if (topic === this.#liveTopic) {
      this.#onLive(stamp);
    } else if (this.#patterns.some((pattern) => pattern.matches(topic))) {
      // ZeroMQ matches byte prefixes: "time" also gets "timezone".
      this.#onEvent(topic, frames[1], stamp);
    }
  }

  #onEvent(topic, bytes, stamp) {
    if (!this.#isCurrent(stamp.stream)) return;
    if (this.stream) {
      this.stream.onEvent(topic, bytes, stamp);
    } else if (this.#earlyBytes + bytes.length <= EARLY_BYTES_MAX) {
      this.#early.push([topic, bytes, stamp]);
      this.#earlyBytes += bytes.length;
    }
  }

  #onLive(stamp) {
    if (!this.#socket.closed) this.#socket.unsubscribe(this.#liveTopic);
    this.#liveTopic = null;
    this.#askAt = this.#heardAt + LIVE_INTERVAL_MS;
    if (!this.#isCurrent(stamp.stream)) return;
    const anew = !this.live;
    this.live = !this.#socket.closed;
    if (this.stream) {
      this.stream.onLive(stamp.position, anew);
      return;
    }
    this.#streamId = stamp.stream;
    this.stream = this.#attach(this, stamp);
    const early = this.#early;
    this.#early = [];
    this.#earlyBytes = 0;
    for (const event of early) this.stream.onEvent(...event);
  }

  /** Whether the stream is read. One that has not been seen here before replaces the one before it. */
  #isCurrent(stream) {
    if (this.#ended.has(stream)) return false;
    if (this.#streamId === null) {
      this.#streamId = stream;
    } else if (this.#streamId !== stream) {
      const old = this.#streamId;
      const wasRead = this.stream !== null;
      this.#ended.add(old);
      this.#early = [];
      this.#earlyBytes = 0;
      this.#streamId = stream;
      this.stream = null;
      this.#askAt = 0;
      if (wasRead) {
        this.previous = old;
        this.#replaced(this, old, stream);
      }
    }
    return true;
  }

  // The connection.

  /** Subscribes to a new nonce. The reply shows that the subscriptions are active, and up to which position everything that
   * was to arrive has arrived. */
  #ask(time) {
    this.#liveTopic = `$SYS.live.${randomBytes(8).toString("hex")}`;
    this.#socket.subscribe(this.#liveTopic);
    this.#askedAt = time;
  }

  #keepLive(time) {
    if (this.#liveTopic && this.#drained && time >= Math.max(this.#askedAt, this.#heardAt) + SILENT_MS) {
      this.#handshake.look(this.#egress);
    }
    if (this.#handshake.takeAccepted()) this.#reconnect();
    if (!this.#liveTopic) {
      if (time >= this.#askAt) this.#ask(time);
    } else if (this.#drained && time >= this.#askedAt + LIVE_TIMEOUT_MS) {
      this.live = false;
      this.#socket.unsubscribe(this.#liveTopic);
      // Another address of the host may reply. libzmq does not reconnect after a protocol error.
      if (time >= this.#heardAt + LIVE_TIMEOUT_MS && this.#addresses.next()) {
        this.#reconnect();
      } else if (time >= this.#heardAt + SILENCE_MS) {
        this.#heardAt = time;
        this.#reconnect();
      }
      this.#ask(time);
    }
  }

  #reconnect() {
    try {
      this.#socket.disconnect(this.#egress);
    } catch {
      // it has dropped the endpoint already
    }
    this.#egress = this.#addresses.current;
    this.#socket.ipv6 = this.#egress.includes("[");
    this.#socket.connect(this.#egress);
  }
}

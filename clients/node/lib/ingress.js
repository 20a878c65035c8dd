// One broker of a publisher's list: its ingress and its control endpoint.

import { XPublisher } from "zeromq";
import { Addresses } from "./addresses.js";
import { ControlChannel } from "./channel.js";
import { ControlError } from "./control.js";
import { Handshake } from "./handshake.js";
import { Mailbox } from "./mailbox.js";
import { fileDescriptorSet } from "./proto.js";
import { now } from "./time.js";

const SUBSCRIBE_MS = [500, 8000]; // how long the broker may take to subscribe: at first, and at most
const BACKOFF_MS = 50; // between two connections
const REPLY_TIMEOUT_MS = 1000;
const SILENCE_MS = 5000; // a control connection without a reply for this long is begun again
const UNSUBSCRIBED_MS = 300; // after this long without a subscription, the broker may not accept our keys
const REFUSED_MS = 1000; // from a refused request about the session to the next
const BUSY_MS = 100; // the same if the broker was only too busy
const SEND_HWM = 4000;
const SILENT_MS = 1000; // a broker that has not replied for this long is not available

/** What register() reports if there is no reply. */
export const NO_REPLY = "no reply";

/** Connects to a broker's ingress, again and again, and requests what it has admitted. Owns its sockets.
 *
 * Each connection has a socket of its own, which libzmq does not reconnect: what was queued for a lost connection must not
 * follow behind events that were lost with it. The broker subscribes to everything, which shows that a connection stands;
 * libzmq takes the subscription back when it ends. */
export class Ingress {
  subscribed = false;
  connection = 0; // counts connections
  eventBytesMax = null; // from Hello
  draining = false;
  stream = null;
  repliedAt = -Infinity;
  asking = false; // a reply of askAdmitted() is pending
  refusedUntil = -Infinity; // before the next askAdmitted()
  helloProblem = ""; // why the broker does not announce the source

  #handshake;
  #refusal = null; // of askAdmitted()
  #addresses;
  #session;
  #socket = null;
  #mailbox = null;
  #downSince = now(); // not subscribed since then; null: subscribed
  #connectAt = 0;
  #connectedAt = 0;
  #deadline = 0;
  #patienceMs = SUBSCRIBE_MS[0];

  /** Starts connecting. Throws for an invalid endpoint. */
  constructor({ ingress, control }, source, session, keys) {
    this.#addresses = new Addresses(ingress);
    this.#session = { source, session };
    this.#handshake = new Handshake(XPublisher, ingress, keys);
    this.channel = new ControlChannel(control, SILENCE_MS, keys);
    try {
      this.#connect(now());
    } catch (error) {
      this.close();
      throw error;
    }
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

  /** Why we may not publish here, once for each request. */
  takeRefusal() {
    const refusal = this.#refusal;
    this.#refusal = null;
    return refusal;
  }

  /** Handles what has arrived, and renews the connection. Does not wait. */
  async poll() {
    await this.channel.poll();
    const time = now();
    this.#checkHandshake(time);
    if (!this.#socket) {
      // Without a reply on control it is not there: connecting is left to an occasional attempt.
      const due = this.replies(time) ? this.#connectAt : this.#connectAt + SUBSCRIBE_MS[1];
      if (time >= due && !this.channel.closed) this.#connect(time);
      return;
    }
    for (let frames; this.#socket && (frames = await this.#mailbox.take());) {
      this.#handshake.onMessage();
      if (frames[0][0] === 1) { // and an empty prefix
        this.subscribed = true;
        this.#downSince = null;
        this.#patienceMs = SUBSCRIBE_MS[0];
      } else {
        this.disconnect(time);
      }
    }
    if (this.#socket && !this.subscribed && time >= this.#deadline) {
      this.#patienceMs = Math.min(2 * this.#patienceMs, SUBSCRIBE_MS[1]);
      this.disconnect(time);
      if (this.#addresses.next()) this.#connectAt = time;
    }
  }

  /** Resolves when a message has arrived, or after at most 100 ms. */
  wait() {
    return Promise.race([this.channel.wait(), ...(this.#mailbox ? [this.#mailbox.wait()] : [])]);
  }

  /** Whether events can be published here, as far as anybody can know. */
  available(time) {
    return this.subscribed && !this.draining && this.replies(time);
  }

  replies(time) {
    return time < this.repliedAt + SILENT_MS;
  }

  /** Whether it has been gone for a while. */
  lost(time, patienceMs) {
    return !this.replies(time) || (this.#downSince !== null && time >= this.#downSince + patienceMs);
  }

  changeSession(session) {
    this.#session = { ...this.#session, session };
  }

  /** Requests what the broker has admitted of our session. `onDone` gets the reply, or null if there is none for this
   * connection. Returns false if a request is pending: `onDone` is not called then. */
  askAdmitted(onDone = () => {}) {
    if (this.asking) return false;
    this.asking = true;
    const { connection } = this;
    const session = this.#session;
    this.channel.request({ admitted: this.#session }, REPLY_TIMEOUT_MS, (reply) => {
      this.asking = false;
      if (reply?.end === "error") this.#onRefused(reply.error);
      const useful = reply?.reply === "admitted" && this.#onReply(reply, reply.admitted.draining)
        && connection === this.connection && session === this.#session;
      onDone(useful ? reply : null);
    });
    return true;
  }

  /** Reports the source as up, or as down with `closing`. Notes the broker's limit for events. */
  sayHello(counters, { closing = false, onDone = () => {} } = {}) {
    const { source: name, session } = this.#session;
    const hello = { name, session, closing, role: "ROLE_PUBLISHER", counters };
    this.channel.request({ hello }, REPLY_TIMEOUT_MS, (reply) => {
      if (reply?.end === "error") this.helloProblem = `${reply.error.code}: ${reply.error.text}`;
      if (reply?.reply === "hello" && this.#onReply(reply, reply.hello.draining)) {
        this.eventBytesMax = Number(reply.hello.max_event_bytes) || null;
      }
      onDone();
    });
  }

  /** Registers the definitions of types. `onDone` gets the problem, or null. */
  register(typeNames, onDone) {
    const request = { types: { register_files: fileDescriptorSet(typeNames) } };
    this.channel.request(request, REPLY_TIMEOUT_MS, (reply) => {
      const problem = reply?.end === "error" ? `${reply.error.code}: ${reply.error.text}` : null;
      onDone(reply ? problem : NO_REPLY);
    });
  }

  /** Resolves to false if the connection's send queue is full. */
  async send({ topic, event }) {
    try {
      await this.#socket?.send([topic, event]);
    } catch (error) {
      if (error.code === "EAGAIN") return false;
      throw error;
    }
    return true;
  }

  due() {
    let due = this.channel.due();
    if (this.#socket && !this.subscribed) due = Math.min(due, this.#deadline);
    else if (!this.#socket && this.replies(now())) due = Math.min(due, this.#connectAt);
    return due;
  }

  /** Closes the connection; what was queued on it is discarded. */
  disconnect(time) {
    this.#socket?.close();
    this.#socket = null;
    this.#mailbox = null;
    if (this.subscribed) this.#downSince = time;
    this.subscribed = false;
    this.connection += 1;
    this.#connectAt = time + BACKOFF_MS;
  }

  close() {
    this.channel.close();
    this.#handshake.close();
    this.disconnect(now());
  }

  #checkHandshake(time) {
    const isSilent = this.#socket ? !this.subscribed && time >= this.#connectedAt + UNSUBSCRIBED_MS
      : this.#handshake.problem !== null;
    if (isSilent) this.#handshake.look(this.#addresses.current);
    if (this.#handshake.takeAccepted() && !this.channel.closed) {
      this.disconnect(time);
      [this.#patienceMs] = SUBSCRIBE_MS;
      this.#connect(time);
    }
  }

  #onRefused(error) {
    const isPermitted = error.code !== "not_permitted";
    this.refusedUntil = now() + (isPermitted ? BUSY_MS : REFUSED_MS);
    if (!isPermitted) this.#refusal = new ControlError(error);
  }

  /** Notes that the broker is there. Returns false if the reply is of no use: it is from another incarnation than the
   * connection. */
  #onReply({ stream }, draining) {
    this.repliedAt = now();
    this.draining = draining;
    const changed = this.stream !== null && this.stream !== stream;
    this.stream = stream;
    if (changed) {
      this.disconnect(this.repliedAt);
      this.#connectAt = this.repliedAt;
    }
    return !changed;
  }

  #connect(time) {
    this.#socket = new XPublisher({
      noDrop: true, sendHighWaterMark: SEND_HWM, receiveHighWaterMark: 0, linger: 0, sendTimeout: 0,
      reconnectInterval: -1, ipv6: this.#addresses.current.includes("["),
      // No heartbeats, see BrokerReader: they would do the same to the broker.
      tcpKeepalive: 1, tcpKeepaliveIdle: 2, tcpKeepaliveInterval: 2, tcpKeepaliveCount: 2, ...this.#handshake.options,
    });
    this.#mailbox = new Mailbox(this.#socket);
    this.connection += 1;
    this.#connectedAt = time;
    this.#deadline = time + this.#patienceMs;
    this.#socket.connect(this.#addresses.current);
  }
}

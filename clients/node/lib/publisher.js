// Publishing: events are numbered, kept until the broker confirms them, and resent after a reconnect.

import { randomBytes } from "node:crypto";
import { XPublisher } from "zeromq";
import { Brokers, Connection, now, sleep } from "./connection.js";
import { Control, DEFAULT_CONTROL, TimeoutError } from "./control.js";
import { encode } from "./proto.js";
import { checkTopic, SYSTEM_PREFIX } from "./topic.js";

export const DEFAULT_INGRESS = "tcp://127.0.0.1:5570";

const SUBSCRIBE_TIMEOUT_MS = 10_000; // a connection over which the broker has not subscribed by then is closed
const BACKOFF_MS = [50, 1000]; // between two connections: at first, and at most
const REPLY_TIMEOUT_MS = 5000; // a connection whose broker has not replied for this long is closed
const CONFIRM_MS = 100; // how often publish() requests confirmation
const FLUSH_MS = [1, 100]; // how often flush() requests it: at first, and at most
const SEND_HWM = 4000;

/** The broker refused events of this publisher. */
export class Refused extends Error {}

/** A source of events. Owns its sockets. Calls are executed one at a time, in order.
 *
 * Events are kept until the broker has admitted them, and resent after a reconnect; the broker refuses duplicates.
 * Only flush() and close() confirm that everything was admitted. If the broker comes back without its state, or another
 * broker takes over, the unconfirmed events are resent and may reach readers twice: see `inDoubt`.
 *
 *   const publisher = new Publisher("clock@host7");
 *   await publisher.publish("clock", "it is late");
 *   await publisher.close();
 */
export class Publisher {
  session = randomBytes(8).readBigUInt64LE() || 1n;
  offered = 0; // sequence of the last event accepted by publish()
  confirmed = 0; // sequence up to which the broker has admitted or refused every event
  refused = 0; // events that the broker refused
  resent = 0; // events sent again after a reconnect
  closed = false;
  inDoubt = 0; // unconfirmed events sent to a broker that lost its state or was replaced

  #brokers;
  #control;
  #unconfirmedBytesMax;
  #eventBytesMax;
  #turn = Promise.resolve();
  #unconfirmed = new Map(); // by sequence, in order
  #bytes = 0;
  #sent = 0; // last sequence sent over this connection
  #highestSent = 0; // last sequence sent over any connection
  #stream = null; // of the broker that replied last
  #refusedByBroker = 0;
  #refusedReported = 0;
  #refusedReason = "";

  #connection = null;
  #subscribed = false;
  #resumed = false;
  #connectAt = 0;
  #backoff = BACKOFF_MS[0];
  #subscribeDeadline;
  #confirmAt = 0;

  /** Connects in the background. `source` is the publisher's stable name. At most `unconfirmedBytesMax` bytes of events
   * wait for the broker. For several brokers, `ingress` and `control` contain one endpoint each per broker; the
   * publisher moves to the next broker when one has been down for a second. Throws for an invalid endpoint. */
  constructor(source, {
    ingress = DEFAULT_INGRESS, control = DEFAULT_CONTROL, unconfirmedBytesMax = 64 << 20, eventBytesMax = 1 << 20,
  } = {}) {
    this.source = source;
    this.#brokers = new Brokers({ ingress, control });
    this.#unconfirmedBytesMax = unconfirmedBytesMax;
    this.#eventBytesMax = eventBytesMax;
    this.#control = new Control(this.#brokers.current.control);
    try {
      this.#connect();
    } catch (error) {
      this.#close();
      throw error;
    }
  }

  /** Waits until a broker is connected. Not required before publish(). Rejects with TimeoutError. */
  waitReady({ timeout = 10_000 } = {}) {
    return this.#whileOpen(async () => {
      const deadline = now() + timeout;
      while (!(await this.#readyToSend(deadline))) {
        await this.#wait(deadline, `no broker has subscribed at ${this.#brokers.current.ingress} within ${timeout} ms`);
      }
    });
  }

  /** Queues an event: text, bytes (a Uint8Array), a message (from message()), or null, which clears the topic's retained
   * value. `timeNs` is when it happened (Unix; default: now). Waits only if the limit on unconfirmed events is reached
   * or a broker is slow to reply, for at most `timeout`. Rejects with TimeoutError, and queues nothing, if the limit is
   * still reached; with a RangeError if the event cannot be published. */
  publish(topic, payload, { timeNs, attributes = {}, timeout = 10_000 } = {}) {
    return this.#whileOpen(async () => {
      if (checkTopic(topic).startsWith(SYSTEM_PREFIX)) {
        throw new RangeError(`expected a topic outside $SYS., got ${JSON.stringify(topic)}`);
      }
      const event = this.#encode(payload, timeNs ?? BigInt(Date.now()) * 1_000_000n, attributes);
      if (event.length > this.#eventBytesMax) {
        throw new RangeError(`expected an event of at most ${this.#eventBytesMax} bytes, got ${event.length}`);
      }
      const size = Buffer.byteLength(topic) + event.length;
      const deadline = now() + timeout;
      while (this.#bytes + size > this.#unconfirmedBytesMax && this.#unconfirmed.size > 0) {
        await this.#confirmMore(deadline,
          `limit of ${this.#unconfirmedBytesMax} unconfirmed bytes still reached after ${timeout} ms`);
      }
      this.offered += 1;
      this.#unconfirmed.set(this.offered, { topic, event, size });
      this.#bytes += size;
      if (await this.#readyToSend(deadline) && await this.#send() && now() >= this.#confirmAt) {
        await this.#requestConfirmation(deadline);
      }
    });
  }

  /** Waits until the broker has admitted everything published before. Rejects with TimeoutError if that takes longer
   * than `timeout` (the events are kept), and with Refused if it has refused events since the last flush. */
  flush({ timeout = 10_000 } = {}) {
    return this.#whileOpen(async () => {
      const deadline = now() + timeout;
      for (let pause = FLUSH_MS[0]; this.confirmed < this.offered;) {
        const before = this.confirmed;
        await this.#confirmMore(deadline, `${this.#unconfirmed.size} of ${this.offered} events not admitted by `
          + `${this.#brokers.current.ingress} within ${timeout} ms`, pause);
        pause = this.confirmed > before ? FLUSH_MS[0] : Math.min(2 * pause, FLUSH_MS[1]);
      }
      if (this.refused > this.#refusedReported) {
        const refused = this.refused - this.#refusedReported;
        this.#refusedReported = this.refused;
        throw new Refused(`the broker refused ${refused} events, the last one because of: ${this.#refusedReason}`);
      }
    });
  }

  /** Calls flush(), then closes the publisher in any case. A second call has no effect. */
  async close({ timeout = 10_000 } = {}) {
    if (this.closed) return;
    try {
      await this.flush({ timeout });
    } finally {
      await this.#inTurn(async () => this.#close());
    }
  }

  #whileOpen(action) {
    return this.#inTurn(async () => {
      if (this.closed) throw new RangeError("the publisher is closed");
      return action();
    });
  }

  #inTurn(action) {
    const done = this.#turn.then(action);
    this.#turn = done.catch(() => {});
    return done;
  }

  #close() {
    this.closed = true;
    this.#connection?.close();
    this.#connection = null;
    this.#unconfirmed.clear();
    this.#control.close();
  }

  #encode(payload, timeNs, attributes) {
    const time = { seconds: timeNs / 1_000_000_000n, nanos: Number(timeNs % 1_000_000_000n) };
    const { source, session } = this;
    const event = { source, session, sequence: this.offered + 1, time, attributes };
    if (typeof payload === "string") event.text = payload;
    else if (payload instanceof Uint8Array) event.binary = payload;
    else if (payload?.type_url) event.message = payload;
    else if (payload !== null) {
      throw new RangeError(`payload: expected text, bytes, a message or null, got ${typeof payload}`);
    }
    return encode("backplane.v1.Event", event);
  }

  // The connection. These methods do not wait, except for a reply from control, until the deadline.

  #connect() {
    if (this.#brokers.moveOn()) this.#control.use(this.#brokers.current.control);
    this.#connection = new Connection(XPublisher, this.#brokers.current.ingress,
      { noDrop: true, sendHighWaterMark: SEND_HWM, sendTimeout: 0 });
    this.#subscribed = false;
    this.#resumed = false;
    this.#subscribeDeadline = now() + SUBSCRIBE_TIMEOUT_MS;
  }

  #disconnect() {
    this.#connection.close();
    this.#connection = null;
    this.#connectAt = now() + this.#backoff;
    this.#backoff = Math.min(2 * this.#backoff, BACKOFF_MS[1]);
  }

  /** Whether events can be sent: connected, and it is known which events earlier connections delivered. */
  async #readyToSend(deadline) {
    if (!this.#connection) {
      if (now() < this.#connectAt) return false;
      this.#connect();
    }
    for (let frames; (frames = await this.#connection.receive(0));) {
      // The broker subscribes to everything: 1 and an empty prefix.
      this.#subscribed ||= frames[0][0] === 1;
      this.#brokers.markUp();
    }
    if (this.#connection.ended || (!this.#subscribed && now() >= this.#subscribeDeadline)) {
      this.#disconnect();
      return false;
    }
    if (this.#subscribed && !this.#resumed) {
      this.#resumed = this.#highestSent === this.confirmed || await this.#requestConfirmation(deadline);
      // Resend everything unconfirmed; the broker refuses duplicates.
      if (this.#resumed) this.#sent = this.confirmed;
    }
    return this.#subscribed && this.#resumed;
  }

  /** Sends the unsent events. Returns false if the connection's send queue is full. */
  async #send() {
    while (this.#sent < this.offered) {
      const { topic, event } = this.#unconfirmed.get(this.#sent + 1);
      try {
        await this.#connection.socket.send([topic, event]);
      } catch (error) {
        if (error.code === "EAGAIN") return false;
        throw error;
      }
      this.#sent += 1;
      if (this.#sent <= this.#highestSent) this.resent += 1;
      this.#highestSent = Math.max(this.#highestSent, this.#sent);
    }
    return true;
  }

  /** Asks the broker which events it has admitted. Closes the connection if it does not reply for long. */
  async #requestConfirmation(deadline) {
    this.#confirmAt = now() + CONFIRM_MS;
    const left = Math.max(1, deadline - now());
    const { source, session } = this;
    let reply;
    try {
      reply = await this.#control.ask({ admitted: { source, session } }, { timeout: Math.min(left, REPLY_TIMEOUT_MS) });
    } catch (error) {
      if (!(error instanceof TimeoutError)) throw error;
      if (left >= REPLY_TIMEOUT_MS) this.#disconnect();
      return false;
    }
    this.#backoff = BACKOFF_MS[0];
    const { sequence, refused_sequence: refusedSequence, refused, refused_reason: reason } = reply.admitted;
    if (reply.stream !== this.#stream) {
      // The broker restarted, another one took over, or this is the first reply.
      if (this.#stream !== null || (!this.#resumed && sequence === 0n)) {
        this.inDoubt += this.#highestSent - this.confirmed;
      }
      this.#stream = reply.stream;
      this.#refusedByBroker = 0;
    }
    this.refused += Math.max(0, Number(refused) - this.#refusedByBroker);
    this.#refusedByBroker = Number(refused);
    this.#refusedReason = reason || this.#refusedReason;
    this.#confirm(Math.min(Math.max(Number(sequence), Number(refusedSequence)), this.#highestSent));
    return true;
  }

  #confirm(sequence) {
    while (this.confirmed < sequence) {
      this.confirmed += 1;
      this.#bytes -= this.#unconfirmed.get(this.confirmed).size;
      this.#unconfirmed.delete(this.confirmed);
    }
    this.#sent = Math.max(this.#sent, this.confirmed);
  }

  // Waiting.

  async #confirmMore(deadline, problem, pause = FLUSH_MS[0]) {
    if (await this.#readyToSend(deadline)) {
      await this.#send();
      await this.#requestConfirmation(deadline);
    }
    if (this.#unconfirmed.size > 0) await this.#wait(deadline, problem, pause);
  }

  async #wait(deadline, problem, pause = FLUSH_MS[1]) {
    const left = deadline - now();
    if (left <= 0) throw new TimeoutError(problem);
    await sleep(Math.min(left, pause));
  }
}

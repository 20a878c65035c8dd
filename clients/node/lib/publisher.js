// Publishing: numbered, kept until the broker has admitted it, sent again after a reconnect.

import { randomBytes } from "node:crypto";
import { XPublisher } from "zeromq";
import { Brokers, Connection, now, sleep } from "./connection.js";
import { Control, DEFAULT_CONTROL, TimeoutError } from "./control.js";
import { encode } from "./proto.js";
import { checkTopic, SYSTEM_PREFIX } from "./topic.js";

export const DEFAULT_INGRESS = "tcp://127.0.0.1:5570";

const SUBSCRIBE_TIMEOUT_MS = 10_000; // a connection whose broker has not subscribed by then is given up
const BACKOFF_MS = [50, 1000]; // between two connections: the first, and the longest
const REPLY_TIMEOUT_MS = 5000; // a broker that does not answer for so long is given up
const CONFIRM_MS = 100; // how often publish() asks what was admitted
const FLUSH_MS = [1, 100]; // how often flush() asks: at first, and in the long run
const SEND_HWM = 4000;

/** The broker refused events of this publisher. */
export class Refused extends Error {}

/** A source of events. Owns its sockets; calls take their turn in the order in which they were made.
 *
 * Events are kept until the broker has admitted them, and sent again after a reconnect; the broker refuses what comes
 * twice. Only flush() and close() tell that all were admitted. What was sent to a broker that then came back without
 * memory, or to one that another stands in for now, is sent again and may reach readers twice: see `inDoubt`.
 *
 *   const publisher = new Publisher("clock@host7");
 *   await publisher.publish("clock", "it is late");
 *   await publisher.close();
 */
export class Publisher {
  session = randomBytes(8).readBigUInt64LE() || 1n;
  offered = 0; // sequence of the last event that publish() has taken
  confirmed = 0; // sequence up to which the broker has dealt with everything
  refused = 0; // events that the broker refused
  resent = 0; // events sent more than once, after a reconnect
  closed = false;
  inDoubt = 0; // events sent to a broker that then came back without memory of them

  #brokers;
  #control;
  #unconfirmedBytesMax;
  #eventBytesMax;
  #turn = Promise.resolve();
  #unconfirmed = new Map(); // by sequence, in order
  #bytes = 0;
  #sent = 0; // sequence of the last one sent over this connection
  #highestSent = 0; // and over any
  #stream = null; // whose answers we had
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

  /** Connects in the background. `source` is the publisher's stable name; at most `unconfirmedBytesMax` of events await
   * the broker. Of several brokers there is an endpoint each in `ingress` and `control`: the next one is used where one
   * has been away for a second. Throws for an endpoint that is none. */
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

  /** Waits until a broker has us. Not needed before publish(). Rejects with TimeoutError. */
  waitReady({ timeout = 10_000 } = {}) {
    return this.#whileOpen(async () => {
      const deadline = now() + timeout;
      while (!(await this.#readyToSend(deadline))) {
        await this.#wait(deadline, `nobody has subscribed at ${this.#brokers.current.ingress} within ${timeout} ms`);
      }
    });
  }

  /** Takes an event: text, bytes (a Uint8Array), a typed message (of message()), or null, which clears the topic's
   * retained value. It happened at `timeNs` (Unix; none: now). Waits only where the unconfirmed events fill their bound
   * or a broker is slow to answer, at most `timeout`; rejects with TimeoutError, and keeps nothing, where there is no
   * room, with a RangeError for what cannot be published. */
  publish(topic, payload, { timeNs, attributes = {}, timeout = 10_000 } = {}) {
    return this.#whileOpen(async () => {
      if (checkTopic(topic).startsWith(SYSTEM_PREFIX)) {
        throw new RangeError(`the system's topics cannot be published to: ${JSON.stringify(topic)}`);
      }
      const event = this.#encode(payload, timeNs ?? BigInt(Date.now()) * 1_000_000n, attributes);
      if (event.length > this.#eventBytesMax) {
        throw new RangeError(`at most ${this.#eventBytesMax} bytes can be published, the event has ${event.length}`);
      }
      const size = Buffer.byteLength(topic) + event.length;
      const deadline = now() + timeout;
      while (this.#bytes + size > this.#unconfirmedBytesMax && this.#unconfirmed.size > 0) {
        await this.#confirmMore(deadline, `no room for another event within ${timeout} ms`);
      }
      this.offered += 1;
      this.#unconfirmed.set(this.offered, { topic, event, size });
      this.#bytes += size;
      if (await this.#readyToSend(deadline) && await this.#send() && now() >= this.#confirmAt) await this.#requestConfirmation(deadline);
    });
  }

  /** Waits until the broker has admitted all that was published. Rejects with TimeoutError where it has not within
   * `timeout` (the events are kept), with Refused where it refused some since the last flush. */
  flush({ timeout = 10_000 } = {}) {
    return this.#whileOpen(async () => {
      const deadline = now() + timeout;
      for (let pause = FLUSH_MS[0]; this.confirmed < this.offered;) {
        const before = this.confirmed;
        await this.#confirmMore(deadline, `not admitted by ${this.#brokers.current.ingress} within ${timeout} ms: `
          + `${this.#unconfirmed.size} of ${this.offered} events`, pause);
        pause = this.confirmed > before ? FLUSH_MS[0] : Math.min(2 * pause, FLUSH_MS[1]);
      }
      if (this.refused > this.#refusedReported) {
        const refused = this.refused - this.#refusedReported;
        this.#refusedReported = this.refused;
        throw new Refused(`the broker refused ${refused} events, of the last one it said: ${this.#refusedReason}`);
      }
    });
  }

  /** flush(), then ends in any case. Repeating it does nothing. */
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
    else if (payload !== null) throw new RangeError(`text, bytes, a message or null is wanted, got ${typeof payload}`);
    return encode("backplane.v1.Event", event);
  }

  // The connection. None of these waits, but for an answer from control, until the deadline.

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

  /** Whether events can be sent: connected, and with what an earlier connection did known. */
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
      // All that is not confirmed goes out again; the broker refuses what it has already.
      if (this.#resumed) this.#sent = this.confirmed;
    }
    return this.#subscribed && this.#resumed;
  }

  /** Sends what is unsent. False where the connection takes no more at the moment. */
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

  /** Asks what was admitted. Gives the connection up where nobody answers for long. */
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
    const { sequence, refused_sequence: refusedSequence, refused, refused_reason: why } = reply.admitted;
    if (reply.stream !== this.#stream) {
      // Another life of the broker than before, or the first that we know of.
      if (this.#stream !== null || (!this.#resumed && sequence === 0n)) this.inDoubt += this.#highestSent - this.confirmed;
      this.#stream = reply.stream;
      this.#refusedByBroker = 0;
    }
    this.refused += Math.max(0, Number(refused) - this.#refusedByBroker);
    this.#refusedByBroker = Number(refused);
    this.#refusedReason = why || this.#refusedReason;
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

  // What waits.

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

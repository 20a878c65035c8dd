// Publishing: events are numbered, kept until the broker confirms them, and resent after a reconnect.

import { randomBytes } from "node:crypto";
import { writeSync } from "node:fs";
import { brokerList } from "./brokers.js";
import { DEFAULT_CONTROL, TimeoutError } from "./control.js";
import { readKeys } from "./credentials.js";
import { encode, isKnownType, typeOf } from "./proto.js";
import { PublisherQueue } from "./publisher_queue.js";
import { Sender } from "./sender.js";
import { now, sleep, turn, unheldSleep } from "./time.js";
import { checkTopic, SYSTEM_PREFIX } from "./topic.js";

export const DEFAULT_INGRESS = "tcp://127.0.0.1:5570";

const EXIT_FLUSH_MS = 5000; // how long the end of the program may wait for the broker
const CLOSING_MS = 500; // how long close() waits for the broker to hear of it
const POLL_MS = [20, 100]; // how often to look for messages while nobody waits: with and without unconfirmed events

/** The broker refused events of this publisher. */
export class Refused extends Error {}

/** A source of events. Owns its sockets. Calls are executed one at a time, in order.
 *
 * Events are kept until the broker has admitted them, and resent after a reconnect; the broker refuses duplicates.
 * Only flush() and close() confirm that everything was admitted. If the broker comes back without its state, or another
 * broker takes over, the unconfirmed events are resent and may reach readers twice: see `inDoubt`.
 *
 * Of a list of brokers, one is used at a time: the first that replies. The publisher moves within a second of losing it, or
 * when it drains, and returns to an earlier one that has been there for some seconds.
 *
 * It works in the background, and reports the source as up ($SYS.source.<source>), but does not keep the process alive.
 * When nothing else does, what is unconfirmed gets 5 more seconds. What is lost then, or at process.exit(), is reported on
 * standard error.
 *
 *   const publisher = new Publisher("clock@host7");
 *   await publisher.publish("clock", "it is late");
 *   await publisher.close();
 */
export class Publisher {
  closed = false;

  #unconfirmedBytesMax;
  #eventBytesMax;
  #queue = new PublisherQueue();
  #sender;
  #turn = Promise.resolve();
  #refusedReported = 0;
  #failure = null;
  #waiting = 0; // calls that wait: the process stays alive for them
  #waiters = new Set(); // called after each turn
  #wake = () => {};
  #stopping = false;
  #ended;

  /** Connects in the background. `source` is the publisher's stable name. At most `unconfirmedBytesMax` bytes of events
   * wait for the broker. An event above the broker's limit is refused; `eventBytesMax` is a lower limit of your own. For
   * several brokers, `ingress` and `control` contain one endpoint each per broker. For brokers that require keys,
   * `keyFile` and `serverKeyFile` name files as for a Subscriber. Throws for an invalid endpoint, a RangeError for keys
   * that cannot be used.
   *
   * Calls that wait are rejected with AuthenticationError if no broker of the list accepts the keys, and with ControlError
   * with the code "not_permitted" if this user may not publish anything. */
  constructor(source, {
    ingress = DEFAULT_INGRESS, control = DEFAULT_CONTROL, unconfirmedBytesMax = 64 << 20, eventBytesMax = null,
    keyFile, serverKeyFile,
  } = {}) {
    this.source = source;
    this.#unconfirmedBytesMax = unconfirmedBytesMax;
    this.#eventBytesMax = eventBytesMax;
    this.#sender = new Sender(brokerList({ ingress, control }), source, randomBytes(8).readBigUInt64LE() || 1n, this.#queue,
      readKeys(keyFile, serverKeyFile));
    this.#ended = this.#run();
    keepForExit(this);
  }

  /** Random. It changes if another program sends events of this source and session. */
  get session() {
    return this.#sender.session;
  }

  /** Sequence of the last event accepted by publish(). */
  get offered() {
    return this.#queue.offered;
  }

  /** Sequence up to which every event has been admitted or refused. */
  get confirmed() {
    return this.#queue.confirmed;
  }

  /** Events that were refused. */
  get refused() {
    return this.#queue.refused;
  }

  /** Events sent again after a reconnect. */
  get resent() {
    return this.#queue.resent;
  }

  /** Unconfirmed events sent to a broker that lost its state or was replaced. */
  get inDoubt() {
    return this.#queue.inDoubt;
  }

  /** What went wrong last without stopping the publisher, for example in registering a type, or because the broker has
   * refused events or our keys; "" if nothing. */
  get lastProblem() {
    return this.#sender.lastProblem;
  }

  /** Waits until a broker is connected. Not required before publish(). Rejects with TimeoutError. */
  waitReady({ timeout = 10_000 } = {}) {
    return this.#whileOpen(async () => {
      if (!(await this.#wait(() => this.#sender.ready(), timeout))) {
        throw new TimeoutError(`no broker has subscribed at ${this.#sender.endpoint} within ${timeout} ms`);
      }
    });
  }

  /** Queues an event: text, bytes (a Uint8Array), a message (from message()), or null, which clears the topic's retained
   * value. `timeNs` is when it happened (Unix; default: now). Waits only if the limit on unconfirmed events is reached, for
   * at most `timeout`. The definition of a message's type is registered with the broker before the event is sent. Rejects
   * with TimeoutError, and queues nothing, if the limit is still reached; with a RangeError if the event cannot be
   * published. */
  publish(topic, payload, { timeNs, attributes = {}, timeout = 10_000 } = {}) {
    return this.#whileOpen(async () => {
      if (checkTopic(topic).startsWith(SYSTEM_PREFIX)) {
        throw new RangeError(`expected a topic outside $SYS., got ${JSON.stringify(topic)}`);
      }
      const event = this.#encode(payload, timeNs ?? BigInt(Date.now()) * 1_000_000n, attributes);
      const limit = Math.min(this.#eventBytesMax ?? Infinity, this.#sender.eventBytesMax ?? Infinity);
      if (event.length > limit) {
        throw new RangeError(`expected an event of at most ${limit} bytes, got ${event.length}`);
      }
      const size = Buffer.byteLength(topic) + event.length;
      if (!this.#hasRoom(size) && !(await this.#wait(() => this.#hasRoom(size), timeout))) {
        throw new TimeoutError(
          `limit of ${this.#unconfirmedBytesMax} unconfirmed bytes still reached after ${timeout} ms`);
      }
      if (payload?.type_url && isKnownType(typeOf(payload))) this.#queue.types.add(typeOf(payload));
      this.#queue.add({ topic, event, size });
      this.#wake();
    });
  }

  /** Waits until the broker has admitted everything published before. Rejects with TimeoutError if that takes longer
   * than `timeout` (the events are kept), and with Refused if it has refused events since the last flush. */
  flush({ timeout = 10_000 } = {}) {
    return this.#whileOpen(async () => {
      const queue = this.#queue;
      const target = queue.offered;
      this.#sender.flushing += 1;
      this.#sender.hurry();
      try {
        if (!(await this.#wait(() => queue.confirmed >= target, timeout))) {
          throw new TimeoutError(`${target - queue.confirmed} of ${target} events not admitted by `
            + `${this.#sender.endpoint} within ${timeout} ms`);
        }
      } finally {
        this.#sender.flushing -= 1;
      }
      if (queue.refused > this.#refusedReported) {
        const refused = queue.refused - this.#refusedReported;
        this.#refusedReported = queue.refused;
        throw new Refused(`the broker refused ${refused} events, the last one because of: ${queue.refusedText}`);
      }
    });
  }

  /** Calls flush(), then closes the publisher in any case. A second call has no effect. */
  async close({ timeout = 10_000 } = {}) {
    if (this.closed) return;
    try {
      await this.flush({ timeout });
    } finally {
      await this.#inTurn(() => this.#close());
    }
  }

  #whileOpen(action) {
    return this.#inTurn(async () => {
      if (this.closed) throw new RangeError("the publisher is closed");
      if (this.#failure) throw this.#failure;
      return action();
    });
  }

  #inTurn(action) {
    const done = this.#turn.then(action);
    this.#turn = done.catch(() => {});
    return done;
  }

  #hasRoom(size) {
    return this.#queue.length === 0 || this.#queue.bytes + size <= this.#unconfirmedBytesMax;
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

  /** Resolves to whether `condition` holds within `timeout`. Rejects with what the broker has against us. */
  async #wait(condition, timeout) {
    const deadline = now() + timeout;
    const timer = sleep(timeout);
    this.#waiting += 1;
    try {
      while (!condition() && !this.#failure && !this.#sender.problem && now() < deadline) {
        const turned = new Promise((resolve) => { this.#waiters.add(resolve); });
        this.#wake();
        await Promise.race([turned, timer.done]);
      }
    } finally {
      this.#waiting -= 1;
      timer.cancel();
    }
    if (this.#failure) throw this.#failure;
    if (condition()) return true;
    const { problem } = this.#sender;
    this.#sender.problem = null;
    if (problem) throw problem;
    return false;
  }

  async #close() {
    if (this.closed) return;
    this.closed = true;
    this.#stopping = true;
    this.#wake();
    await this.#ended;
    let said = false;
    this.#sender.sayClosing(() => { said = true; });
    for (const deadline = now() + CLOSING_MS; !said && now() < deadline;) {
      const timer = sleep(10);
      await timer.done;
      await this.#sender.pollReplies();
    }
    this.#sender.close();
    this.#queue.clear();
    open.delete(this);
  }

  // The background.

  async #run() {
    try {
      while (!this.#stopping) {
        await this.#sender.work();
        const waiters = [...this.#waiters];
        this.#waiters.clear();
        for (const resolve of waiters) resolve();
        await turn();
        if (!this.#stopping) await this.#idle();
      }
    } catch (error) {
      this.#failure = error;
      for (const resolve of this.#waiters) resolve();
    }
  }

  /** Waits until there is something to do. Only for a call that waits does this keep the process alive. */
  async #idle() {
    const woken = new Promise((resolve) => { this.#wake = resolve; });
    const left = this.#sender.due() - now();
    if (left <= 0) return;
    if (this.#waiting > 0) {
      const timer = sleep(left);
      await Promise.race([woken, timer.done, this.#sender.wait()]);
      timer.cancel();
    } else {
      const timer = unheldSleep(Math.min(left, POLL_MS[this.#queue.length > 0 ? 0 : 1]));
      await Promise.race([woken, timer.done]);
      timer.cancel();
    }
  }

  /** Closes the publisher when nobody handles its errors: what is lost is reported on standard error. */
  async _closeAtEnd() {
    try {
      await this.close({ timeout: EXIT_FLUSH_MS });
    } catch (error) {
      report(this.source, `${error.message}; what was not admitted is lost`);
    }
  }
}

const open = new Set();

function report(source, problem) {
  writeSync(2, `backplane: publisher ${source}: ${problem}\n`);
}

function keepForExit(publisher) {
  if (open.size === 0 && !keepForExit.registered) {
    keepForExit.registered = true;
    process.on("beforeExit", () => { for (const each of open) each._closeAtEnd(); });
    process.on("exit", () => {
      for (const { source, offered, confirmed } of open) {
        if (confirmed < offered) {
          report(source, `${offered - confirmed} of ${offered} events were not admitted before the process ended; they are lost`);
        }
      }
    });
  }
  open.add(publisher);
}

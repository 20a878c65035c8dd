// The part of a publisher that talks to brokers: it chooses one, sends, resends, and learns what was admitted.

import { randomBytes } from "node:crypto";

import { ControlError } from "./control.js";
import { AuthenticationError } from "./handshake.js";
import { Ingress, NO_REPLY } from "./ingress.js";
import { now } from "./time.js";

const HELLO_MS = 1000;
const ADMITTED_MS = 100; // how often to request what was admitted, while something is unconfirmed
const FLUSH_MS = [1, 100]; // the same while somebody waits for it: at first, and at most
const PROBE_MS = 250; // how often to check that a broker of the list is there
const LOST_MS = 500; // a connection that has been down for this long is lost, if there are other brokers
const PREFER_MS = 500; // how long an earlier broker of the list may take to show up before a later one is chosen
const HEALTHY_MS = 3000; // how long an earlier broker must have been available before the publisher returns to it
const LEAVE_MS = 2000; // how long what was sent may take to be confirmed before that
const STALL_MS = [15_000, 120_000]; // how long a connection may confirm nothing of what was sent: at first, and at most
const PROBLEM_MS = 3000; // how long calls are rejected with what a broker has against us
const SEND_MAX = 500; // events sent in one turn
const FULL_MS = 5; // before another attempt if the connection's send queue is full

/** Publishes the events of a queue at one broker of a list: the first one that replies on ingress and control. It moves
 * when that is lost or drains, and returns to an earlier one that has been available for some seconds. Owns the sockets. */
export class Sender {
  lastProblem = "";
  session;
  flushing = 0; // how many wait for confirmation
  problem = null; // for calls that wait; once for each attempt

  #brokers;
  #source;
  #queue;
  #keys;
  #problemAt = -Infinity;
  #refusedSeen = 0;
  #flushPause = FLUSH_MS[0];
  #ingresses;
  #healthySince;
  #current; // index; null: none yet
  #searchSince = now();
  #resumed = 0; // the connection on which sending may go on
  #resuming = 0; // the connection on which that is being found out
  #returningSince = null;
  #registered = new Set();
  #registering = false;
  #full = false;
  #helloAt = 0;
  #admittedAt = 0;
  #probeAt = 0;
  #progressAt = now();
  #stallMs = STALL_MS[0];
  #confirmedSeen = 0;
  #lastStream = null;
  #connections = new Map(); // by which the session's events may have come, by stream

  /** Starts connecting. Throws for an invalid endpoint. */
  constructor(brokers, source, session, queue, keys) {
    this.#brokers = brokers;
    this.#source = source;
    this.session = session;
    this.#queue = queue;
    this.#keys = keys;
    this.#ingresses = brokers.map(() => null);
    this.#healthySince = brokers.map(() => null);
    this.#current = brokers.length === 1 ? 0 : null;
    try {
      brokers.forEach((_, index) => this.#open(index));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The broker in use, for messages. */
  get endpoint() {
    return this.#brokers[this.#current ?? 0].ingress;
  }

  /** The broker's limit; null: not known yet. */
  get eventBytesMax() {
    return this.#ingress()?.eventBytesMax ?? null;
  }

  /** Whether a broker is connected, and it is known what earlier connections delivered. */
  ready() {
    const current = this.#ingress();
    return Boolean(current?.subscribed) && this.#resumed === current.connection;
  }

  /** One turn. Does not wait. */
  async work() {
    for (const each of this.#ingresses) await each?.poll();
    const time = now();
    this.#noteProblems(time);
    if (this.#brokers.length > 1) {
      this.#probe(time);
      this.#choose(time);
    }
    const current = this.#ingress();
    if (!current) return;
    if (current.subscribed && this.#resumed !== current.connection) this.#resume(current);
    if (time >= this.#helloAt) this.#sayHello(current, time);
    await this.#send(current);
    if (this.#queue.length > 0 && time >= this.#admittedAt && (this.ready() || current.draining)) {
      this.#ask(current, time);
    }
    this.#checkProgress(current, time);
  }

  /** Resolves when a message has arrived, or after at most 100 ms. */
  wait() {
    return Promise.race(this.#ingresses.filter(Boolean).map((each) => each.wait()));
  }

  /** When work() has something to do even if nothing arrives. */
  due() {
    const current = this.#ingress();
    let due = current ? this.#helloAt : Infinity;
    if (current?.subscribed && this.#resuming !== current.connection && !current.asking) {
      due = Math.min(due, current.refusedUntil);
    }
    for (const each of this.#ingresses) due = Math.min(due, each?.due() ?? Infinity);
    if (this.#brokers.length > 1) due = Math.min(due, this.#probeAt);
    if (current && this.#queue.length > 0 && (this.ready() || current.draining)) {
      due = Math.min(due, this.#admittedAt);
      if (this.#maySend(current)) due = Math.min(due, this.#full ? now() + FULL_MS : 0);
    }
    return due;
  }

  /** Somebody waits for confirmation. */
  hurry() {
    this.#flushPause = FLUSH_MS[0];
    this.#admittedAt = 0;
  }

  /** Reports the source as down, if a broker is there. `onDone` is called when that has been received, or cannot be. */
  sayClosing(onDone) {
    const current = this.#ingress();
    if (current?.replies(now())) current.sayHello(this.#counters(), { closing: true, onDone });
    else onDone();
  }

  async pollReplies() {
    await this.#ingress()?.channel.poll();
  }

  close() {
    this.#ingresses.forEach((_, index) => this.#close(index));
  }

  #noteProblems(time) {
    let problem = this.#ingresses.map((each) => each?.takeProblem() ?? null).find(Boolean);
    if (problem) this.lastProblem = problem.message;
    if (!this.#ingresses.every((each) => each?.problem)) { // another broker of the list may do
      problem = null;
      if (this.problem instanceof AuthenticationError) this.problem = null;
    }
    const current = this.#ingress();
    this.lastProblem = current?.helloProblem || this.lastProblem;
    const refusal = current?.takeRefusal();
    if (refusal) this.lastProblem = refusal.message;
    problem ??= refusal;
    if (problem) {
      this.problem = problem;
      this.#problemAt = time;
    } else if (time >= this.#problemAt + PROBLEM_MS) {
      this.problem = null; // says nothing about a broker that is away now
    }
    if (this.#queue.refused > this.#refusedSeen) {
      this.lastProblem = `events were refused, the last one because of: ${this.#queue.refusedText}`;
      this.#refusedSeen = this.#queue.refused;
    }
  }

  // The broker.

  #ingress() {
    return this.#current === null ? null : this.#ingresses[this.#current];
  }

  #open(index) {
    if (this.#ingresses[index]) return;
    this.#ingresses[index] = new Ingress(this.#brokers[index], this.#source, this.session, this.#keys);
    this.#healthySince[index] = null;
  }

  #close(index) {
    this.#ingresses[index]?.close();
    this.#ingresses[index] = null;
  }

  #probe(time) {
    this.#ingresses.forEach((each, index) => {
      if (!each?.available(time)) this.#healthySince[index] = null;
      else this.#healthySince[index] ??= time;
    });
    if (time < this.#probeAt) return;
    this.#probeAt = time + PROBE_MS;
    this.#ingresses.forEach((each, index) => {
      if (index === this.#current) this.#ask(each, time);
      else each?.askAdmitted();
    });
  }

  #choose(time) {
    const current = this.#ingress();
    if (current && !current.lost(time, LOST_MS) && !(current.draining && this.#queue.allSentConfirmed())) {
      for (let later = this.#current + 1; later < this.#brokers.length; ++later) this.#close(later);
      this.#considerReturn(time);
      return;
    }
    this.#returningSince = null;
    if (this.#ingresses.every(Boolean)) {
      const index = this.#firstAvailable(time);
      if (index !== null && index !== this.#current) this.#select(index);
    } else {
      this.#searchSince = time;
      this.#brokers.forEach((_, index) => this.#open(index));
    }
  }

  #firstAvailable(time) {
    for (const [index, each] of this.#ingresses.entries()) {
      if (each.available(time)) return index;
      if (index !== this.#current && time < this.#searchSince + PREFER_MS) return null; // it may show up yet
    }
    return null;
  }

  /** Returns to an earlier broker of the list, once everything that was sent here has been confirmed. */
  #considerReturn(time) {
    const earlier = this.#healthySince.findIndex((since, index) => index < this.#current && since !== null
      && time >= since + HEALTHY_MS);
    if (earlier < 0) {
      this.#returningSince = null;
    } else if (this.#queue.allSentConfirmed()) {
      this.#select(earlier);
    } else if (this.#returningSince === null) {
      this.#returningSince = time;
    } else if (time >= this.#returningSince + LEAVE_MS) {
      this.#returningSince = null; // not now
      this.#healthySince[earlier] = null;
    }
  }

  #select(index) {
    const current = this.#ingress();
    // Sent before the socket is closed, or not at all.
    if (current?.replies(now())) current.sayHello(this.#counters(), { closing: true });
    this.#current = index;
    this.#returningSince = null;
    this.#helloAt = 0;
    for (let other = index + 1; other < this.#brokers.length; ++other) this.#close(other);
    this.#resumed = 0;
    this.#resuming = 0;
  }

  // The connection.

  /** Finds out what earlier connections delivered, and registers the types, before anything is sent. */
  #resume(current) {
    if (this.#resuming === current.connection || now() < current.refusedUntil) return;
    if (current.asking) return; // that reply may be from before the connection
    const { connection } = current;
    this.#resuming = connection;
    this.#registered.clear();
    this.#registering = false;
    this.#sayHello(current, now());
    this.#register(current);
    // The broker handles the requests in order: its limit and its reply about the types are known by then.
    current.askAdmitted((reply) => {
      if (!reply) {
        this.#resuming = 0;
        return;
      }
      // Nothing has been sent on this connection.
      const before = Math.max(this.#connections.get(reply.stream) ?? 0, reply.admitted.connections);
      this.#connections.set(reply.stream, before + 1);
      if (this.#onAdmitted(reply) && reply.stream !== this.#lastStream) this.#queue.doubt();
      this.#lastStream = reply.stream;
      this.#queue.rewind();
      this.#resumed = connection;
    });
  }

  #register(current) {
    const missing = [...this.#queue.types].filter((name) => !this.#registered.has(name));
    if (missing.length === 0) return;
    const { connection } = current;
    this.#registering = true;
    current.register([...this.#queue.types], (problem) => {
      if (connection !== current.connection) return;
      this.#registering = false;
      if (problem !== NO_REPLY) for (const name of missing) this.#registered.add(name);
      if (problem) this.lastProblem = `types: ${problem}`;
    });
  }

  #sayHello(current, time) {
    this.#helloAt = time + HELLO_MS;
    current.sayHello(this.#counters());
  }

  #counters() {
    const { offered, confirmed, refused, resent, inDoubt } = this.#queue;
    return { offered, confirmed, refused, resent, in_doubt: inDoubt };
  }

  // Events.

  async #send(current) {
    const queue = this.#queue;
    if (!this.#maySend(current)) return;
    this.#register(current);
    if (this.#registering) return;
    this.#full = false;
    for (let count = 0; count < SEND_MAX && queue.sent < queue.offered; ++count) {
      let frames = queue.nextUnsent();
      if (frames && current.eventBytesMax && frames.event.length > current.eventBytesMax) {
        queue.refuseNext("too_large");
        frames = null;
      }
      if (frames && !(await current.send(frames))) {
        this.#full = true;
        break;
      }
      queue.markSent();
    }
    queue.confirmRefused();
  }

  #maySend(current) {
    return this.ready() && this.#queue.sent < this.#queue.offered && !current.draining
      && this.#returningSince === null && !this.#registering;
  }

  /** The broker may reply on control while the connection for events is dead, of which the kernel learns late. */
  #checkProgress(current, time) {
    if (this.#queue.confirmed !== this.#confirmedSeen) {
      this.#confirmedSeen = this.#queue.confirmed;
      this.#progressAt = time;
      [this.#stallMs] = STALL_MS;
    } else if (!this.ready() || this.#queue.allSentConfirmed()) {
      this.#progressAt = time;
    } else if (time >= this.#progressAt + this.#stallMs) {
      this.lastProblem = `the broker confirms nothing of what was sent to ${this.endpoint}`;
      this.#progressAt = time;
      this.#stallMs = Math.min(2 * this.#stallMs, STALL_MS[1]);
      current.disconnect(time);
    }
  }

  #ask(current, time) {
    this.#admittedAt = Math.max(time + (this.flushing > 0 ? this.#flushPause : ADMITTED_MS), current.refusedUntil);
    current.askAdmitted((reply) => this.#onAdmitted(reply));
  }

  /** Returns false if the reply shows that another program sends events of our session. */
  #onAdmitted(reply) {
    if (!reply) return true;
    if (this.problem instanceof ControlError) this.problem = null;
    const { sequence, refused_sequence: refusedSequence, connections } = reply.admitted;
    const { sessionSent } = this.#queue;
    if (sequence > sessionSent || refusedSequence > sessionSent
        || connections > (this.#connections.get(reply.stream) ?? 1)) {
      this.#changeSession(reply.stream);
      return false;
    }
    const before = this.#queue.confirmed;
    this.#queue.onAdmitted(reply.stream, reply.admitted);
    this.#flushPause = this.#queue.confirmed > before ? FLUSH_MS[0] : Math.min(2 * this.#flushPause, FLUSH_MS[1]);
    if (this.flushing > 0) this.#admittedAt = Math.min(this.#admittedAt, now() + this.#flushPause);
    return true;
  }

  /** Which of our events were admitted, and which were refused as duplicates of the other program's, cannot be known. */
  #changeSession(stream) {
    this.lastProblem = `another program publishes as ${this.#source} in our session; continuing in a new one`;
    this.session = randomBytes(8).readBigUInt64LE() || 1n;
    this.#queue.changeSession(this.#source, this.session);
    this.#connections = new Map([[stream, 1]]);
    for (const each of this.#ingresses) each?.changeSession(this.session);
    this.#helloAt = 0;
  }
}

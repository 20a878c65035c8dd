// The events of a publisher that no broker has confirmed.

import { encode } from "./proto.js";

const MEANINGS = { not_permitted: "this user may not publish the topic" };

/** Numbered events, in order, and what became of them. */
export class PublisherQueue {
  offered = 0; // sequence of the last event that was added
  confirmed = 0; // sequence up to which every event has been admitted or refused
  refused = 0; // events that were refused
  resent = 0; // events sent again after a reconnect
  inDoubt = 0; // unconfirmed events sent to a broker that lost its state or was replaced
  refusedReason = "";
  bytes = 0;
  types = new Set(); // the full names of the payloads' types
  sent = 0; // last sequence sent over the current connection

  sessionSent = 0; // last sequence sent in this session

  #highestSent = 0;
  #events = new Map(); // by sequence: { topic, event, size }; null: too large for the broker
  #refusedByStream = new Map();

  add(frames) {
    this.offered += 1;
    this.#events.set(this.offered, frames);
    this.bytes += frames.size;
  }

  get length() {
    return this.#events.size;
  }

  /** The event after `sent`; null if it was refused here. */
  nextUnsent() {
    return this.#events.get(this.sent + 1);
  }

  markSent() {
    this.sent += 1;
    if (this.sent <= this.#highestSent) this.resent += 1;
    this.#highestSent = Math.max(this.#highestSent, this.sent);
    this.sessionSent = Math.max(this.sessionSent, this.sent);
  }

  /** The broker would not take the event after `sent`. */
  refuseNext(reason) {
    this.bytes -= this.nextUnsent().size;
    this.#events.set(this.sent + 1, null);
    this.refused += 1;
    this.refusedReason = reason;
  }

  /** Everything that is not confirmed is to be sent again: the broker refuses duplicates. */
  rewind() {
    this.sent = this.confirmed;
  }

  /** What was sent and not confirmed goes to a broker that knows nothing of it. */
  doubt() {
    for (let sequence = this.confirmed + 1; sequence <= this.#highestSent; ++sequence) {
      if (this.#events.get(sequence)) this.inDoubt += 1;
    }
  }

  /** What is unconfirmed is in doubt, and is to be sent again in this session. */
  changeSession(source, session) {
    this.doubt();
    this.rewind();
    this.sessionSent = 0;
    this.#refusedByStream.clear();
    const place = encode("backplane.v1.Event", { source }).length + 1; // the session follows the source
    for (const frames of this.#events.values()) {
      if (!frames) continue;
      frames.event = Buffer.from(frames.event); // it may be in ZeroMQ's hands
      frames.event.writeBigUInt64LE(session, place);
    }
  }

  allSentConfirmed() {
    return this.confirmed >= this.#highestSent;
  }

  /** A broker's reply about our session. */
  onAdmitted(stream, { sequence, refused_sequence: refusedSequence, refused, refused_reason: reason }) {
    const before = this.#refusedByStream.get(stream) ?? 0;
    this.refused += Math.max(0, Number(refused) - before);
    this.#refusedByStream.set(stream, Math.max(before, Number(refused)));
    this.refusedReason = reason || this.refusedReason;
    this.#confirm(Math.min(Math.max(Number(sequence), Number(refusedSequence)), this.sessionSent));
  }

  /** Takes out what was refused here and has nothing unconfirmed before it. */
  confirmRefused() {
    this.#confirm(this.confirmed);
  }

  /** Why the last refused event was refused. */
  get refusedText() {
    const meaning = MEANINGS[this.refusedReason];
    return meaning ? `${this.refusedReason} (${meaning})` : this.refusedReason;
  }

  clear() {
    this.#events.clear();
    this.bytes = 0;
  }

  #confirm(sequence) {
    while (this.confirmed < this.offered) {
      const following = this.confirmed + 1;
      const frames = this.#events.get(following);
      if (following > sequence && (frames || following > this.sent)) break;
      this.#events.delete(following);
      this.bytes -= frames?.size ?? 0;
      this.confirmed = following;
    }
    this.sent = Math.max(this.sent, this.confirmed);
  }
}

// Requests to a broker's control endpoint that do not block: replies are handed to callbacks.

import { Dealer } from "zeromq";
import { Addresses } from "./addresses.js";
import { Handshake } from "./handshake.js";
import { Mailbox } from "./mailbox.js";
import { decode, encode } from "./proto.js";
import { MOST, ReplySize } from "./reply_size.js";
import { now } from "./time.js";

const LATE_MAX = 16;
const SILENT_MS = 300; // after this long without a reply, the broker may not accept our keys

/** A connection to one control endpoint, renewed by libzmq. Owns its socket. The broker handles the requests of a channel
 * in order. Over a slow path, the channel requests short replies. */
export class ControlChannel {
  #socket;
  #mailbox;
  #lastId = 0n;
  #pending = new Map(); // by the request's number: { onReply, timeout, deadline, … }, see request()
  #late = new Map(); // the same for those that have timed out
  #replySize = new ReplySize();
  #heardAt = now();
  #silenceMs;
  #addresses;
  #connected = false; // something has arrived on this connection

  /** Connects in the background. If a request times out and nothing has arrived for `silenceMs`, the connection is begun
   * again. Throws if `endpoint` is invalid. */
  constructor(endpoint, silenceMs, keys) {
    this.endpoint = endpoint;
    this.handshake = new Handshake(Dealer, endpoint, keys);
    this.#silenceMs = silenceMs;
    this.#addresses = new Addresses(endpoint);
    this.#connect();
  }

  /** Sends a request, `{ [name]: fields }`. poll() calls `onReply` with the reply and its bytes, or with null if there is
   * none within `timeout` ms after this call, or after the last reply to an earlier request; with `evenLate`, it may call it once
   * more with a reply that comes after that. The reply's `end` may be "error". */
  request(request, timeout, onReply, { evenLate = false } = {}) {
    const id = ++this.#lastId;
    const sent = now();
    const replyBytesMax = this.#replySize.next(sent);
    const alone = this.#pending.size === 0;
    const head = { version: 1, id, reply_bytes_max: replyBytesMax < MOST ? replyBytesMax : undefined };
    const message = encode("backplane.v1.ControlRequest", { ...head, ...request });
    this.#pending.set(id, { onReply, message, timeout, deadline: sent + timeout, evenLate, sent, replyBytesMax, alone });
    this.#send(message);
  }

  /** Calls the callbacks of the replies that have arrived, then of the requests that have timed out. Does not wait. */
  async poll() {
    this.#checkHandshake();
    for (let frames; (frames = await this.#mailbox.take());) {
      this.handshake.onMessage();
      const before = this.#heardAt;
      this.#heardAt = now();
      this.#connected = true;
      let reply;
      try {
        reply = decode("backplane.v1.ControlReply", frames.at(-1));
      } catch {
        continue; // not from a broker: let the timeout decide
      }
      for (const [id, later] of this.#pending) { // their replies are behind this one
        if (id > reply.id) later.deadline = this.#heardAt + later.timeout;
      }
      const pending = this.#pending.get(reply.id) ?? this.#late.get(reply.id);
      this.#pending.delete(reply.id);
      this.#late.delete(reply.id);
      if (!pending) continue;
      const { replyBytesMax: requested, alone } = pending;
      const waited = this.#heardAt - Math.max(pending.sent, before);
      this.#replySize.onReply({ requested, bytes: frames.at(-1).length, waited, alone }, this.#heardAt);
      pending.onReply(reply, frames.at(-1));
    }
    const overdue = [...this.#pending].filter(([, { deadline }]) => deadline <= now());
    if (overdue.length > 0) this.#replySize = new ReplySize();
    for (const [id, pending] of overdue) {
      this.#pending.delete(id);
      if (pending.evenLate) this.#late.set(id, pending);
    }
    for (const id of this.#late.keys()) if (this.#late.size > LATE_MAX) this.#late.delete(id);
    // Another address of the host may reply.
    const failed = overdue.length > 0 && !this.#socket.closed;
    if (failed && ((!this.#connected && this.#addresses.next()) || now() >= this.#heardAt + this.#silenceMs)) {
      // A new socket discards what is still queued, and connects to whatever is there now.
      this.#heardAt = now();
      this.#socket.close();
      this.#connect();
    }
    for (const [, { onReply }] of overdue) onReply(null);
  }

  /** Resolves when poll() has something to do, or after at most 100 ms. */
  wait() {
    return this.#mailbox.wait();
  }

  /** When poll() has something to do even without a message, in terms of now(). */
  due() {
    let due = Infinity;
    for (const { deadline } of this.#pending.values()) due = Math.min(due, deadline);
    return due;
  }

  get closed() {
    return this.#socket.closed;
  }

  /** Closes the connection; what has been sent may take `lingerMs` to leave, in the background. The callbacks of pending
   * requests are not called. */
  close(lingerMs = 0) {
    this.#pending.clear();
    this.handshake.close();
    if (!this.#socket.closed) this.#socket.linger = lingerMs;
    this.#socket.close();
  }

  /** The message is sent, or fails, at once: too many may wait for an absent broker already, or it has refused the
   * connection. Then it times out. */
  #send(message) {
    this.#socket.send(message).catch(() => {});
  }

  #checkHandshake() {
    if (this.#socket.closed) return;
    for (const { sent } of this.#pending.values()) { // the first one
      if (now() >= Math.max(sent, this.#heardAt) + SILENT_MS) this.handshake.look(this.#addresses.current);
      break;
    }
    if (this.handshake.takeAccepted()) {
      this.#socket.close();
      this.#connect();
      for (const { message } of this.#pending.values()) this.#send(message);
    }
  }

  #connect() {
    this.#socket = new Dealer({
      linger: 0, sendTimeout: 0, ipv6: this.#addresses.current.includes("["), ...this.handshake.options,
    });
    this.#connected = false;
    this.#mailbox = new Mailbox(this.#socket);
    try {
      this.#socket.connect(this.#addresses.current);
    } catch (error) {
      this.#socket.close();
      throw error;
    }
  }
}

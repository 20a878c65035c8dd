// Messages of a socket, read without leaving anything behind that keeps the process alive.

const WAIT_MAX_MS = 100; // a pending read ends after this time at the latest, and with it its hold on the process

/** Reads a ZeroMQ socket. take() never waits; wait() ends early when a message has arrived. */
export class Mailbox {
  #socket;
  #pending = null;
  #messages = []; // what a pending read has brought

  constructor(socket) {
    this.#socket = socket;
  }

  /** The frames of the next message, or null. */
  async take() {
    if (this.#messages.length > 0) return this.#messages.shift();
    if (this.#pending || this.#socket.closed) return null;
    this.#socket.receiveTimeout = 0;
    try {
      return await this.#socket.receive();
    } catch (error) {
      if (error.code !== "EAGAIN" && !this.#socket.closed) throw error;
      return null;
    }
  }

  /** Resolves when a message can be taken, or after at most 100 ms. */
  wait() {
    if (this.#messages.length > 0 || this.#socket.closed) return Promise.resolve();
    this.#pending ??= this.#read();
    return this.#pending;
  }

  async #read() {
    this.#socket.receiveTimeout = WAIT_MAX_MS;
    try {
      this.#messages.push(await this.#socket.receive());
    } catch {
      // timed out, or closed
    }
    this.#pending = null;
  }
}

// Publishes events over a connection of its own, opened for the first event. One event at a time, because replies do
// not say which command they belong to. No DOM.

import { Connection } from "./connection.js";
import { escapeText } from "./protocol.js";
import { topicProblem } from "./pattern.js";

const LIMIT_MS = 15_000;  // without a broker, the gateway replies after 2 s

export class Publisher {
  #url;
  #options;
  #connection = null;
  #waiting = null;  // {line, sent, done, timer}

  constructor(url, options) {
    this.#url = url;
    this.#options = options;
  }

  get busy() {
    return this.#waiting !== null;
  }

  // Must not be called while busy. @returns {ok, text}: whether the broker has admitted the event, and a text to show.
  publish(topic, text) {
    const problem = topicProblem(topic) || (topic.startsWith("$SYS.") ? "expected a topic outside $SYS., which is read-only" : "");
    if (problem) return Promise.resolve({ ok: false, text: problem });
    return new Promise((resolve) => {
      const begun = performance.now();
      const done = (ok, error) => {
        clearTimeout(this.#waiting.timer);
        this.#waiting = null;
        resolve({ ok, text: error || `admitted in ${Math.max(1, Math.round(performance.now() - begun))} ms` });
      };
      const timer = setTimeout(() => this.#end("no reply: it may have been published"), LIMIT_MS);
      this.#waiting = { line: `PUB ${topic} ${escapeText(text)}`, sent: false, done, timer };
      this.#connection ??= new Connection(this.#url, {
        open: () => this.#send(),
        message: (message) => this.#receive(message),
        state: (state, { reason }) => state === "away" && this.#lost(reason),
      }, this.#options);
      this.#connection.retryNow();
      this.#send();
    });
  }

  #send() {
    if (!this.#waiting || this.#waiting.sent) return;
    this.#waiting.sent = this.#connection.send(this.#waiting.line);
  }

  #receive(message) {
    if (!this.#waiting) return;
    if (message.kind === "ok" && message.word === "PUB") this.#waiting.done(true, "");
    if (message.kind === "error") this.#waiting.done(false, message.text ? `${message.code}: ${message.text}` : message.code);
  }

  #lost(reason) {
    if (!this.#waiting) return;
    this.#waiting.done(false, this.#waiting.sent ? "connection lost: it may have been published" : reason);
  }

  // Closes the connection: a late reply would be mistaken for the reply to the next event.
  #end(text) {
    this.#connection.close();
    this.#connection = null;
    this.#waiting.done(false, text);
  }
}

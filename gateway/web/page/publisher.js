// Publishing: a connection of its own, made with the first event, on which one is under way at a time, so that
// an answer is always the answer to that. No DOM.

import { Connection } from "./connection.js";
import { escapeText } from "./protocol.js";
import { topicProblem } from "./pattern.js";

const LIMIT_MS = 15_000;  // the gateway itself answers after 2 s where it has no broker

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

  // @returns {ok, text}: whether the broker has admitted it, and what there is to say. Not while busy.
  publish(topic, text) {
    const problem = topicProblem(topic) || (topic.startsWith("$SYS.") ? "$SYS. topics are the system's own" : "");
    if (problem) return Promise.resolve({ ok: false, text: problem });
    return new Promise((resolve) => {
      const begun = performance.now();
      const done = (ok, error) => {
        clearTimeout(this.#waiting.timer);
        this.#waiting = null;
        resolve({ ok, text: error || `admitted in ${Math.max(1, Math.round(performance.now() - begun))} ms` });
      };
      const timer = setTimeout(() => this.#end("no answer: it may have been published"), LIMIT_MS);
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

  // Whatever comes later on this connection would be taken for the answer to the next.
  #end(text) {
    this.#connection.close();
    this.#connection = null;
    this.#waiting.done(false, text);
  }
}

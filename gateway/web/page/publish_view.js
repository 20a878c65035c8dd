// The form that publishes an event and shows the reply.

import { byId, setText } from "./dom.js";

export class PublishView {
  #publisher;

  constructor(publisher) {
    this.#publisher = publisher;
    byId("pub-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#publish();
    });
    byId("pub-text").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      this.#publish();
    });
  }

  async #publish() {
    if (this.#publisher.busy) return;
    this.#answer("publishing …", "");
    const { ok, text } = await this.#publisher.publish(byId("pub-topic").value.trim(), byId("pub-text").value);
    this.#answer(text, ok ? "live" : "refused");
  }

  #answer(text, state) {
    const answer = byId("pub-answer");
    answer.dataset.state = state;
    setText(answer, text);
  }
}

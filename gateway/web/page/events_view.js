// A subscription's rows, newest first: events, gaps, resets and changes of the connection. Keeps at most ROWS_MAX rows
// and shows how many of the events are drawn.

import { ROWS_MAX } from "./subscription.js";
import { clock, count, rate, value } from "./format.js";
import { byId, make, setText } from "./dom.js";

export class EventsView {
  #list = byId("events");
  #sampled = byId("sampled");
  #chosen = null;
  #unshown = [];

  paused = false;

  constructor() {
    this.#list.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (!row || String(getSelection()) !== "") return;
      this.#choose(row);
      this.#detail();
    });
    this.#list.addEventListener("keydown", (event) => this.#key(event));
  }

  // Replaces all rows by those of `subscription`.
  show(subscription) {
    this.#unshown = [];
    this.#list.replaceChildren();
    this.#chosen = null;
    if (subscription) this.#add([...subscription.rows]);
  }

  // Adds the rows of one turn, oldest first. While paused, keeps them for later.
  add(items) {
    if (!this.paused) {
      this.#add(items);
      return;
    }
    this.#unshown.push(...items);
    if (this.#unshown.length > ROWS_MAX) this.#unshown.splice(0, this.#unshown.length - ROWS_MAX);
  }

  pause(paused) {
    this.paused = paused;
    if (!paused) this.#add(this.#unshown.splice(0));
  }

  // Shows how many of the received events are drawn.
  showRate(subscription, now) {
    const received = subscription.rate.perSecond(now);
    // A turn is a fifth of a second.
    const shown = Math.min(received, subscription.turn.shown * 5);
    const samples = subscription.turn.received > subscription.turn.shown;
    this.#sampled.dataset.on = samples || this.paused;
    if (subscription.state === "waiting" || subscription.state === "away") {
      this.#sampled.dataset.on = true;
      setText(this.#sampled, `nothing new since ${clock(subscription.stateAt).slice(0, 8)}`);
    } else if (this.paused) setText(this.#sampled, `paused: ${rate(received)}/s received, the newest ${ROWS_MAX} rows are kept`);
    else if (samples) setText(this.#sampled, `showing ${count(shown)} of ${rate(received)}/s, and every gap`);
    else setText(this.#sampled, `showing all: ${rate(received)}/s`);
  }

  #add(items) {
    const fragment = document.createDocumentFragment();
    for (const item of items) fragment.prepend(rowOf(item));
    this.#list.prepend(fragment);
    while (this.#list.children.length > ROWS_MAX) {
      if (this.#list.lastChild === this.#chosen) this.#choose(null);
      this.#list.lastChild.remove();
    }
  }

  #choose(row) {
    this.#chosen?.classList.remove("chosen");
    this.#chosen = row;
    this.#list.removeAttribute("aria-activedescendant");
    if (!row) return;
    row.classList.add("chosen");
    row.id = "event-chosen";
    for (const other of this.#list.querySelectorAll("#event-chosen")) if (other !== row) other.removeAttribute("id");
    this.#list.setAttribute("aria-activedescendant", "event-chosen");
    row.scrollIntoView({ block: "nearest" });
  }

  #detail() {
    const item = this.#chosen?.item;
    if (!item || item.kind === "note") return;
    setText(byId("detail-title"), item.kind === "event" ? item.event.topic : item.topic);
    setText(byId("detail-text"), JSON.stringify(item.kind === "event" ? item.event : item, null, 2));
    byId("detail").showModal();
  }

  #key(event) {
    const row = this.#chosen;
    const next = {
      ArrowDown: row ? row.nextSibling : this.#list.firstChild,
      ArrowUp: row?.previousSibling,
      Home: this.#list.firstChild,
      End: this.#list.lastChild,
    };
    if (event.key === "Enter") this.#detail();
    else if (event.key in next) this.#choose(next[event.key] ?? row);
    else return;
    event.preventDefault();
  }
}

const KINDS = { event: "event-row", gap: "gap", reset: "reset", note: "note" };

function rowOf(item) {
  const row = make("li", { class: `row ${item.kind}`, "data-testid": KINDS[item.kind] },
    make("time", { text: clock(item.at) }));
  row.item = item;
  if (item.kind === "event") {
    const { event } = item;
    row.append(make("span", { class: "topic-name", text: event.topic, title: event.topic }),
      make("span", { class: "offset", text: `${event.offset}` }),
      make("span", { class: "value", text: value(event) }));
  } else if (item.kind === "note") {
    row.dataset.tone = item.tone;
    row.append(make("span", { class: "message", text: item.text }));
  } else {
    row.append(make("span", { class: "topic-name", text: item.topic, title: item.topic }),
      make("span", { class: "message", text: `${item.kind}: ${item.text}` }));
  }
  return row;
}

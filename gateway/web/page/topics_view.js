// The list of topics, each with its rate, its sparkline and its last value. Only the rows on screen exist as elements.
// The keyboard works as in a list box.

import { HISTORY, TOPICS_MAX } from "./topics_model.js";
import { age, count, rate } from "./format.js";
import { byId, colour, make, setText } from "./dom.js";

const ROW_PX = 44;
const OVERSCAN = 4;  // rows above and below what is on screen
const DEBOUNCE_MS = 150;  // before the values of new rows are requested

export class TopicsView {
  #watch;
  #choose;
  #list = [];
  #rows = new Map();  // by topic name
  #chosen = "";
  #find = "";
  #sort = "name";
  #debounce = null;
  #box = byId("topics-list");
  #space = byId("topics-space");

  // Calls `choose(name)` for a topic that is clicked or entered.
  constructor(watch, choose) {
    this.#watch = watch;
    this.#choose = choose;
    this.#box.addEventListener("scroll", () => this.#draw(), { passive: true });
    this.#box.addEventListener("keydown", (event) => this.#key(event));
    this.#space.addEventListener("click", (event) => {
      const row = event.target.closest(".topic");
      if (row) this.#take(row.dataset.name);
    });
    new ResizeObserver(() => this.#draw()).observe(this.#box);
  }

  find(text, sort) {
    this.#find = text;
    this.#sort = sort;
    this.update();
  }

  // The topics or their order may have changed.
  update() {
    const { topics } = this.#watch;
    this.#list = topics.list(this.#find, this.#sort);
    this.#space.style.height = `${this.#list.length * ROW_PX}px`;
    const all = topics.total;
    setText(byId("topics-count"), this.#find && this.#list.length !== all ?
      `${count(this.#list.length)} of ${count(all)}` : count(all));
    const note = byId("topics-note");
    note.hidden = all <= TOPICS_MAX && this.#list.length > 0;
    if (all > TOPICS_MAX) {
      setText(note, `The first ${count(TOPICS_MAX)} of ${count(all)}. Search with a pattern to find others.`);
    } else if (this.#list.length === 0) {
      const none = "No topics yet. A topic appears when something is published to it.";
      setText(note, this.#find ? "No topic found." : none);
    }
    this.#draw(true);
  }

  // A topic's last value has changed.
  value(name) {
    const row = this.#rows.get(name);
    if (row) this.#fill(row, this.#watch.topics.get(name));
  }

  redraw() {
    this.#draw(true);
  }

  #draw(all = false) {
    const first = Math.max(0, Math.floor(this.#box.scrollTop / ROW_PX) - OVERSCAN);
    const end = Math.min(this.#list.length, first + Math.ceil(this.#box.clientHeight / ROW_PX) + 2 * OVERSCAN);
    const wanted = this.#list.slice(first, end);
    const names = new Set(wanted.map((topic) => topic.name));
    const free = [];
    for (const [name, row] of this.#rows) {
      if (names.has(name)) continue;
      free.push(row);
      this.#rows.delete(name);
    }
    wanted.forEach((topic, index) => {
      let row = this.#rows.get(topic.name);
      const isNew = !row;
      if (isNew) {
        row = free.pop() ?? this.#make();
        row.element.dataset.name = topic.name;
        setText(row.name, topic.name);
        row.element.title = topic.name;
        this.#rows.set(topic.name, row);
      }
      const at = first + index;
      row.element.id = `topic-${at}`;
      row.element.style.transform = `translateY(${at * ROW_PX}px)`;
      row.element.setAttribute("aria-posinset", at + 1);
      row.element.setAttribute("aria-setsize", this.#list.length);
      row.element.setAttribute("aria-selected", topic.name === this.#chosen);
      if (topic.name === this.#chosen) this.#box.setAttribute("aria-activedescendant", row.element.id);
      if (isNew || all) {
        this.#fill(row, topic);
        this.#spark(row.canvas, topic.rates);
      }
    });
    for (const row of free) row.element.remove();
    clearTimeout(this.#debounce);
    this.#debounce = setTimeout(() => this.#watch.show(new Set([...this.#rows.keys()])), DEBOUNCE_MS);
  }

  #make() {
    const row = {
      name: make("span", { class: "name" }),
      canvas: make("canvas", { "aria-hidden": "true", width: 128, height: 56 }),
      rate: make("span", { class: "rate" }),
      last: make("span", { class: "last" }),
      age: make("span", { class: "age" }),
    };
    row.element = make("div", { class: "topic", role: "option", "data-testid": "topic-row" },
      row.name, row.canvas, row.rate, row.last, row.age);
    this.#space.append(row.element);
    return row;
  }

  #fill(row, topic) {
    if (!topic) return;
    setText(row.rate, `${rate(topic.rate)}/s`);
    row.rate.classList.toggle("quiet", topic.rate === 0);
    setText(row.last, topic.value);
    setText(row.age, topic.rate > 0 ? "" : age(Math.max(0, performance.now() - topic.quietSince) / 1000));
  }

  #spark(canvas, rates) {
    const context = canvas.getContext("2d");
    const { width, height } = canvas;
    context.clearRect(0, 0, width, height);
    if (rates.length < 2) return;
    const top = Math.max(...rates);
    context.strokeStyle = colour(top > 0 ? "accent" : "line");
    context.lineWidth = 3;
    context.lineJoin = "round";
    context.beginPath();
    rates.forEach((each, index) => {
      const x = width - 2 - (rates.length - 1 - index) * ((width - 4) / (HISTORY - 1));
      const y = height - 4 - (top > 0 ? each / top : 0) * (height - 8);
      if (index === 0) context.moveTo(x, y);
      else context.lineTo(x, y);
    });
    context.stroke();
  }

  #take(name) {
    this.#chosen = name;
    this.#draw();
    this.#choose(name);
  }

  #key(event) {
    const page = Math.max(1, Math.floor(this.#box.clientHeight / ROW_PX) - 1);
    const at = this.#list.findIndex((topic) => topic.name === this.#chosen);
    const steps = {
      ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: this.#list.length,
    };
    if (event.key === "Enter" && at >= 0) {
      this.#choose(this.#chosen);
    } else if (event.key in steps && this.#list.length > 0) {
      const next = Math.min(this.#list.length - 1, Math.max(0, steps[event.key]));
      this.#chosen = this.#list[next].name;
      const top = next * ROW_PX;
      const lowest = top + ROW_PX - this.#box.clientHeight;
      this.#box.scrollTop = Math.min(top, Math.max(lowest, this.#box.scrollTop));
      this.#draw();
    } else {
      return;
    }
    event.preventDefault();
  }
}

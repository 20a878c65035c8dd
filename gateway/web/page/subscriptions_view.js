// The form that subscribes, the tabs of the subscriptions, and the line above the rows of the one that is shown.

import { SUBSCRIPTIONS_MAX } from "./url_state.js";
import { patternProblem } from "./pattern.js";
import { clock, count, rate, words } from "./format.js";
import { byId, make, setText } from "./dom.js";

const FORM = { last: "sub-last", every: "sub-every", since: "sub-since", policy: "sub-policy" };

const STATES = {
  connecting: "connecting",
  requested: "subscribing",
  live: "active",
  waiting: "no broker",
  away: "no gateway",
  refused: "refused",
};

export class SubscriptionsView {
  #on;
  #tabs = byId("tabs");
  #elements = new Map();  // by subscription

  // `on` has subscribe(request), choose(index) and close(index).
  constructor(on) {
    this.#on = on;
    byId("sub-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    byId("sub-pattern").addEventListener("input", () => this.problem(""));
    this.#tabs.addEventListener("keydown", (event) => this.#key(event));
  }

  problem(text) {
    setText(byId("sub-problem"), text);
    byId("sub-pattern").setAttribute("aria-invalid", text !== "");
  }

  // Makes the tabs match `subscriptions` in number and order; existing tabs are kept.
  tabs(subscriptions, active) {
    for (const [subscription, element] of this.#elements) {
      if (subscriptions.includes(subscription)) continue;
      element.box.remove();
      this.#elements.delete(subscription);
    }
    subscriptions.forEach((subscription, index) => {
      if (!this.#elements.has(subscription)) this.#elements.set(subscription, this.#make(subscription));
      const { box, tab, close } = this.#elements.get(subscription);
      box.classList.toggle("active", index === active);
      tab.setAttribute("aria-selected", index === active);
      tab.tabIndex = index === active ? 0 : -1;
      tab.dataset.index = index;
      close.dataset.index = index;
      tab.title = `${index + 1}: ${subscription.request.pattern}`;
    });
  }

  // Updates the states and rates of the tabs.
  refresh(now) {
    for (const [subscription, { tab, count: figure }] of this.#elements) {
      tab.dataset.state = subscription.state;
      // Without a connection, nothing is measured.
      setText(figure, subscription.state === "live" ? `${rate(subscription.rate.perSecond(now))}/s` : "–/s");
    }
  }

  head(subscription) {
    const box = byId("view-state");
    const { state, stateAt, problem, received, lost, gaps, resets } = subscription;
    const begun = state === "away" || state === "waiting" ? `${STATES[state]} since ${clock(stateAt).slice(0, 8)}` : STATES[state];
    const parts = [problem ? `${begun}: ${problem}` : begun, `${count(received)} received`];
    if (gaps > 0) parts.push(`${count(gaps)} ${gaps === 1 ? "gap" : "gaps"}, ${count(lost)} lost`);
    if (resets > 0) parts.push(`${count(resets)} ${resets === 1 ? "reset" : "resets"}`);
    setText(box, parts.join(" · "));
    box.dataset.subscription = state;
  }

  // Updates the choice of numeric fields; `field` is the one that is drawn, "" if rows are shown.
  fields(subscription, field) {
    const select = byId("chart-field");
    const { fields } = subscription;
    const wanted = field && !fields.includes(field) ? [field, ...fields] : fields;
    const none = wanted.length === 0 ? "no numbers yet" : field ? "none (text)" : "a field …";
    const options = ["", ...wanted];
    if (options.join("\n") !== [...select.options].map((each) => each.value).join("\n")) {
      select.replaceChildren(...options.map((each) => make("option", { value: each, text: each })));
    }
    setText(select.options[0], none);
    if (select.value !== field && document.activeElement !== select) select.value = field;
  }

  #submit() {
    const request = { pattern: byId("sub-pattern").value.trim() };
    for (const [name, id] of Object.entries(FORM)) {
      const element = byId(id);
      request[name] = element.type === "checkbox" ? element.checked : element.value.trim();
    }
    const problem = patternProblem(request.pattern) ||
      (["every", "since"].some((name) => /\s/.test(request[name])) ? "every, since: expected one word each, such as 5s or 10m" : "");
    this.problem(problem && words(problem));
    if (problem) byId("sub-pattern").focus();
    else this.#on.subscribe(request);
  }

  // Fills the form, to make changing a subscription easy.
  fill(request) {
    byId("sub-pattern").value = request.pattern;
    byId("sub-last").checked = request.last;
    for (const name of ["every", "since", "policy"]) byId(FORM[name]).value = request[name] ?? "";
  }

  #make(subscription) {
    const figure = make("span", { class: "count" });
    const tab = make("button", {
      type: "button", role: "tab", "aria-controls": "view", "data-testid": "tab",
      onclick: (event) => this.#on.choose(Number(event.currentTarget.dataset.index)),
    }, make("span", { class: "name", text: subscription.request.pattern }), figure);
    const close = make("button", {
      type: "button", class: "close", text: "×", "aria-label": `Unsubscribe from ${subscription.request.pattern}`, title: "Unsubscribe (x)",
      onclick: (event) => this.#on.close(Number(event.currentTarget.dataset.index)),
    });
    const box = make("div", { class: "tab", role: "presentation" }, tab, close);
    this.#tabs.append(box);
    return { box, tab, close, count: figure };
  }

  #key(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const index = Number(event.target.dataset.index);
    if (!step || Number.isNaN(index)) return;
    const next = (index + step + this.#elements.size) % this.#elements.size;
    this.#on.choose(next);
    this.#tabs.querySelector(`[role="tab"][data-index="${next}"]`)?.focus();
    event.preventDefault();
  }
}

export const FULL = `Limit of ${SUBSCRIPTIONS_MAX} subscriptions reached: close one first.`;

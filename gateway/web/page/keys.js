// Shortcuts, and the list of them.

import { byId, make } from "./dom.js";

// `actions`: [keys, what it does, run(key)], in the order of the list; keys as KeyboardEvent.key has them.
export function startKeys(actions) {
  const byKey = new Map(actions.flatMap(([keys, , run]) => keys.map((key) => [key, run])));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.target.matches("input, textarea, select")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    // Space presses what has the focus.
    if (event.key === " " && event.target.matches("button, a")) return;
    const run = byKey.get(event.key);
    if (!run) return;
    event.preventDefault();
    run(event.key);
  });
  const listed = actions.map(([keys, text]) => [keys.length > 1 ? `${keys[0]}–${keys.at(-1)}` : keys[0], text]);
  listed.push(["↑ ↓ Enter", "choose among topics, rows or tabs that have the focus"], ["Esc", "leave a box"]);
  for (const [keys, text] of listed) {
    byId("keys").append(make("dt", {}, make("kbd", { text: keys === " " ? "space" : keys })), make("dd", { text }));
  }
}

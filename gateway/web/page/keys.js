// Keyboard shortcuts and their list in the help dialog.

import { byId, make } from "./dom.js";

// `actions`: [keys, description, run(key)], in the order of the list; keys are values of KeyboardEvent.key.
export function startKeys(actions) {
  const byKey = new Map(actions.flatMap(([keys, , run]) => keys.map((key) => [key, run])));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.target.matches("input, textarea, select")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    // Space presses the focused element.
    if (event.key === " " && event.target.matches("button, a")) return;
    const run = byKey.get(event.key);
    if (!run) return;
    event.preventDefault();
    run(event.key);
  });
  const listed = actions.map(([keys, text]) => [keys.length > 1 ? `${keys[0]}–${keys.at(-1)}` : keys[0], text]);
  listed.push(["↑ ↓ Enter", "move within the focused topics, rows or tabs"], ["Esc", "leave an input"]);
  for (const [keys, text] of listed) {
    byId("keys").append(make("dt", {}, make("kbd", { text: keys === " " ? "space" : keys })), make("dd", { text }));
  }
}

// How to subscribe in the same way from elsewhere: a command or program to copy.

import { TOOLS, commandText, omitted } from "./commands.js";
import { byId, make, setText } from "./dom.js";

const NOTES = {
  "Python": "Uses clients/python. Assumes that the broker runs on the gateway's machine.",
  "C++": "Uses find_package(backplane). Assumes that the broker runs on the gateway's machine.",
};
const SHOWN_MS = 1500;

export class CommandView {
  #tool = TOOLS[0];
  #request = { pattern: ">" };

  constructor() {
    byId("command-tools").append(...TOOLS.map((tool) => make("button", {
      type: "button", text: tool, "data-tool": tool, "data-testid": `command-${tool}`,
      onclick: () => { this.#tool = tool; this.#draw(); },
    })));
    byId("command-copy").addEventListener("click", () => this.copy());
    this.#draw();
  }

  show(request) {
    this.#request = request;
    this.#draw();
  }

  async copy() {
    const button = byId("command-copy");
    const text = byId("command-text");
    let copied = true;
    try {
      await navigator.clipboard.writeText(text.textContent);
    } catch {
      // Browsers give the clipboard only to pages from this machine or over HTTPS. Ctrl+C copies a selection.
      getSelection().selectAllChildren(text);
      copied = false;
    }
    setText(button, copied ? "Copied" : "Press Ctrl+C");
    setTimeout(() => setText(button, "Copy"), SHOWN_MS);
  }

  #draw() {
    for (const button of byId("command-tools").children) button.setAttribute("aria-pressed", button.dataset.tool === this.#tool);
    const { hostname, port, protocol, origin } = location;
    const gateway = { host: hostname, port: port || (protocol === "https:" ? "443" : "80"), origin };
    setText(byId("command-text"), commandText(this.#tool, this.#request, gateway));
    setText(byId("command-note"), [omitted(this.#tool, this.#request), NOTES[this.#tool]].filter(Boolean).join(" "));
  }
}

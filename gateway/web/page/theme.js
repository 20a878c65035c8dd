// Light, dark, or as the system has it. What was chosen is kept in this browser.

import { byId } from "./dom.js";

const KEY = "backplane-theme";
const NEXT = { "": "dark", dark: "light", light: "" };
const SHOWN = { "": ["◐", "as the system's"], dark: ["●", "dark"], light: ["○", "light"] };

function kept() {
  try {
    const theme = localStorage.getItem(KEY);
    return theme in NEXT ? theme : "";
  } catch {
    return "";  // a browser that keeps nothing
  }
}

// Puts it in force. `changed` is called when the colours are others.
export function startTheme(changed) {
  let theme = kept();
  const show = () => {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    const [sign, text] = SHOWN[theme];
    byId("theme").textContent = sign;
    byId("theme").setAttribute("aria-label", `Theme: ${text}`);
    changed();
  };
  byId("theme").addEventListener("click", () => {
    theme = NEXT[theme];
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // It holds until the page is closed.
    }
    show();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  show();
}

// The theme: light, dark or the system's. The browser stores the choice.

import { byId } from "./dom.js";

const KEY = "backplane-theme";
const NEXT = { "": "dark", dark: "light", light: "" };
const SHOWN = { "": ["◐", "system"], dark: ["●", "dark"], light: ["○", "light"] };

function kept() {
  try {
    const theme = localStorage.getItem(KEY);
    return theme in NEXT ? theme : "";
  } catch {
    return "";  // a browser without storage
  }
}

// Applies the theme. Calls `changed` when the colours change.
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
      // The choice lasts until the page is closed.
    }
    show();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  show();
}

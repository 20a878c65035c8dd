// Making and finding elements. Text is always text: nothing that came from elsewhere is read as HTML.

export const byId = (id) => document.getElementById(id);

// An element with attributes and properties (class, text, data-…, on…) and children.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") element.textContent = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// Only where it is another: writing the same text again costs layout.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// One of the custom properties of page.css, as it is in the theme that is on.
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

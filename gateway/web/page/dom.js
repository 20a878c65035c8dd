// Makes and finds elements. Text is never parsed as HTML.

export const byId = (id) => document.getElementById(id);

// Makes an element with attributes and properties (class, text, data-…, on…) and children.
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

// Sets only a different text: setting the same one again costs a layout.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// A custom property of page.css in the current theme.
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

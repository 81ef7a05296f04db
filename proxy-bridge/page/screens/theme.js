// @ts-check
// The switch between the system's theme, light and dark.

import { html, useState } from "../lib.js";

const KEY = "switchyard-theme";
const THEMES = [["", "System"], ["light", "Light"], ["dark", "Dark"]];

export function Theme() {
  const [theme, setTheme] = useState(localStorage.getItem(KEY) ?? "");
  const choose = (event) => {
    const chosen = event.currentTarget.value;
    if (chosen) localStorage.setItem(KEY, chosen);
    else localStorage.removeItem(KEY);
    // theme.js applies it.
    dispatchEvent(new Event(KEY));
    setTheme(chosen);
  };
  return html`<select class="theme" aria-label="Theme" value=${theme} onChange=${choose}>${
    THEMES.map(([value, title]) => html`<option key=${value} value=${value}>${title}</option>`)
  }</select>`;
}

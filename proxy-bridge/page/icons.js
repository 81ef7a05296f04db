// @ts-check
// Icons as lines in the colour of the text: fonts do not have them everywhere.

import { html } from "./lib.js";

const LINES = {
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  done: "M3 8.5l3.5 3.5L13 4.5",
  find: "M11 7a4 4 0 1 1-8 0 4 4 0 0 1 8 0zM10 10l3.5 3.5",
};

export function Icon({ name }) {
  return html`
    <svg class="ic" viewBox="0 0 16 16" aria-hidden="true">
      <path d=${LINES[name]} />
    </svg>
  `;
}

// @ts-check
// The sheet of keys.

import { html } from "../lib.js";
import { SHEET, sheetOpen } from "../keys.js";
import { Dialog } from "../parts.js";

export function KeySheet() {
  const close = () => sheetOpen.value = false;
  return html`
    <${Dialog} title="Keys" onClose=${close}>
      <dl class="keys">${SHEET.map(([key, meaning]) =>
        html`
          <div key=${key}>
            <dt>${key.split(/,? /).map((one) =>
              html`
                <kbd>${one}</kbd>
              `
            )}</dt>
            <dd>${meaning}</dd>
          </div>
        `
      )}</dl>
      <div class="buttons"><button class="btn p" autofocus onClick=${close}>Close</button></div>
      <//>
  `;
}

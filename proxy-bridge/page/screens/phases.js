// @ts-check
// The phases of something that took time.

import { html } from "../lib.js";
import { millis } from "../text.js";

// A bar of what took how long, with the same in words.
export function Phases({ timings, names }) {
  // Each has the same colour in every bar.
  const parts = names.map((name, index) => [name, timings[name] ?? 0, `b${index % 5 + 1}`])
    .filter(([, ms]) => ms > 0);
  const sum = parts.reduce((all, [, ms]) => all + ms, 0) || 1;
  const words = parts.map(([name, ms]) => `${name} ${millis(ms)}`).join(", ");
  let x = 0;
  return html`
    <span class="phases"
      title=${words}><svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">${parts
        .map(([name, ms, colour]) => {
          const width = ms / sum * 100;
          x += width;
          return html`<rect key=${name} class=${colour} x=${
            x - width
          } width=${width} height="6" />`;
        })}</svg><span class="dim">${millis(
          timings.total ?? sum,
        )}</span><span class="sr">${words}</span></span>
  `;
}

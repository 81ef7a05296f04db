// @ts-check
// The phases of a deploy as they happen, at each router.

import { html } from "../lib.js";
import { State } from "../parts.js";
import { host, millis, visible } from "../text.js";

const WORDS = {
  receive: "Received",
  store: "Stored on the volume",
  hold: "Held by the routers",
  build: "Building",
  publish: "Publishing",
  done: "Done",
};

export function Progress({ steps, answer }) {
  const done = answer && (answer.status === 200 || answer.status === 202);
  return html`<ol class="progress" aria-live="polite">${
    steps.map((step, index) =>
      html`<li key=${index}>${
        step.router
          ? html`
            <${State} state=${step.outcome === "built" || step.outcome === "held"
              ? "done"
              : step.outcome}
              word=${visible(step.outcome)} /> ${visible(host(step.router))}
          `
          : WORDS[step.phase] ?? visible(step.phase)
      } <span class="dim">${millis(step.ms)}</span></li>`
    )
  }${
    answer &&
    html`<li><b><${State} state=${done ? "live" : "failed"} word=${
      done ? visible(answer.body?.outcome ?? "done") : "failed, nothing has changed"
    } /></b></li>`
  }</ol>`;
}

// @ts-check
// The load of a project, in numbers and as a small line.

import { html } from "../lib.js";
import { amount, bytesOf } from "../text.js";

// Requests per second, and the rates before.
export function Rate({ load }) {
  if (!load) return html`<span class="dim">–</span>`;
  return html`<span class="rate"><${Sparkline} values=${
    load.history.map(({ rate }) => rate)
  } /><span class="number">${amount(load.per_second)}</span></span>`;
}

export function InFlight({ load }) {
  if (!load) return html`<span class="dim">–</span>`;
  const { in_flight, max_in_flight } = load.used;
  return html`${in_flight} <span class="dim">/ ${max_in_flight}</span>`;
}

export function Memory({ load }) {
  if (!load?.used.processes) return html`<span class="dim">–</span>`;
  const [used, limit] = bytesOf(load.used.memory, load.used.max_memory);
  return html`${used} <span class="dim">/ ${limit}</span>`;
}

// The numbers are beside it.
function Sparkline({ values }) {
  const highest = Math.max(...values);
  if (values.length < 2 || highest === 0) return null;
  const points = values.map((value, index) =>
    `${(index / (values.length - 1) * 84).toFixed(1)},${(19 - value / highest * 18).toFixed(1)}`
  );
  return html`
    <svg class="spark" viewBox="0 0 84 20" aria-hidden="true">
      <polyline points=${points.join(" ")} />
    </svg>
  `;
}

// @ts-check
// The requests of a project in the last hour, minute by minute, with what went live meanwhile; and
// what it uses, since a screen began to show it.

import { part } from "../api.js";
import { html, useMemo } from "../lib.js";
import { loads, useLoads } from "../loads.js";
import { Failure, Loading, Time, Version } from "../parts.js";
import { usePolled } from "../poll.js";
import { events, useEvents } from "../store.js";
import { amount, bytes, clock, millis, visible } from "../text.js";
import { Chart, useCharts } from "./chart.js";

const MINUTE = 60_000;
const MINUTES = 60;

const LIVE = "reload.live";
// The steps of an axis with bytes.
const STEPS = Array.from({ length: 24 }, (_, power) => 2 ** (power + 16));

export function Metrics({ name }) {
  useEvents();
  useLoads();
  const loaded = useCharts();
  const { data, error } = usePolled(`projects/${part(name)}/metrics`, 0, [loads.value]);
  const minutes = useMemo(() => whole(data?.minutes ?? []), [data]);
  if (error && !data) return html`<${Failure} error=${error} />`;
  if (!data) return html`<${Loading} />`;
  const from = minutes[0].at;
  const published = (events.value ?? []).filter(({ type, timestamp, data }) =>
    type === LIVE && data.project === name && Date.parse(timestamp) >= from
  );
  const column = (key) => minutes.map((minute) => minute[key]);
  const common = {
    loaded,
    group: "minutes",
    times: minutes.map((minute) => minute.at / 1000),
    marks: published.map(({ timestamp }) => Date.parse(timestamp) / 1000),
  };
  return html`
    <${Failure} error=${error} />
    ${data.errors.map((one) =>
      html`<p key=${one.router} class="warning">${visible(one.router)}: ${visible(one.error)}</p>`
    )}
    <div class="charts">
      <${Chart} title="Requests per second" ...${common} show=${amount} lines=${[
        { label: "all", colour: "--accent", values: column("rate") },
        { label: "5xx", colour: "--bad", dash: [6, 3], values: column("errors") },
      ]} />
      <${Chart} title="Duration" ...${common} show=${millis} lines=${[
        { label: "p50", colour: "--accent", values: column("p50_ms") },
        { label: "p95", colour: "--warn", dash: [8, 3], values: column("p95_ms") },
        { label: "p99", colour: "--bad", dash: [2, 2], values: column("p99_ms") },
      ]} />
      <${Used} loaded=${loaded} history=${loads.value?.get(name)?.history ?? []} />
    </div>
    <h3>Went live in this hour</h3>
    ${published.length === 0
      ? html`<p class="dim">Nothing. A dashed line in the charts would show when.</p>`
      : html`<ul class="plain">${
        published.map(({ timestamp, data }) =>
          html`
            <li key=${data.router + data.sequence}>
              <${Time} at=${timestamp} />${" "}<${Version} version=${data.version} />
            </li>
          `
        )
      }</ul>`}
    <details>
      <summary>Numbers of each minute</summary>
      <${Numbers} minutes=${minutes} />
    </details>
  `;
}

function Used({ loaded, history }) {
  if (history.length === 0) return null;
  const column = (key) => history.map((value) => value[key]);
  const common = { loaded, group: "used", times: column("at"), marks: [] };
  return html`
    <${Chart} title="In flight now" ...${common} show=${amount} lines=${[
      { label: "requests", colour: "--accent", values: column("in_flight") },
    ]} />
    <${Chart} title="Memory now" ...${common} show=${bytes} steps=${STEPS}
      lines=${[
        { label: "used", colour: "--accent", values: column("memory") },
        { label: "limit", colour: "--bad", dash: [6, 3], values: column("max_memory") },
      ]} />
  `;
}

// The last hour without gaps, the oldest minute first. The API leaves out minutes without requests.
function whole(samples) {
  const known = new Map(samples.map((sample) => [Date.parse(sample.minute), sample]));
  const now = Date.now();
  // The clock of a router may be ahead of this one.
  const last = Math.max(Math.floor(now / MINUTE) * MINUTE, ...known.keys());
  return Array.from({ length: MINUTES }, (_, index) => {
    const at = last - (MINUTES - 1 - index) * MINUTE;
    const sample = known.get(at);
    // The last minute is not over; of its first seconds there is no rate yet.
    const seconds = Math.min(60, Math.max(10, (now - at) / 1000));
    return {
      at,
      rate: (sample?.requests ?? 0) / seconds,
      errors: (sample?.errors ?? 0) / seconds,
      requests: sample?.requests ?? 0,
      failed: sample?.errors ?? 0,
      p50_ms: sample?.p50_ms ?? null,
      p95_ms: sample?.p95_ms ?? null,
      p99_ms: sample?.p99_ms ?? null,
    };
  });
}

function Numbers({ minutes }) {
  return html`
    <div class="scroll" tabindex="0">
      <table>
        <thead>
          <tr>
            <th scope="col">Minute</th>
            <th scope="col" class="n">Requests</th>
            <th scope="col" class="n">5xx</th>
            <th scope="col" class="n">p50</th>
            <th scope="col" class="n">p95</th>
            <th scope="col" class="n">p99</th>
          </tr>
        </thead>
        <tbody>${minutes.toReversed().map((minute) =>
          html`
            <tr key=${minute.at}>
              <th scope="row">${clock(minute.at).slice(0, 5)}</th>
              <td class="n">${minute.requests.toLocaleString("en")}</td>
              <td class="n">${minute.failed.toLocaleString("en")}</td>
              <td class="n">${millis(minute.p50_ms)}</td>
              <td class="n">${millis(minute.p95_ms)}</td>
              <td class="n">${millis(minute.p99_ms)}</td>
            </tr>
          `
        )}</tbody>
      </table>
    </div>
  `;
}

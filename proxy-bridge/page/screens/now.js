// @ts-check
// A project now: its processes, requests, reloads and crashes at each router.

import { html } from "../lib.js";
import { loads, useLoads } from "../loads.js";
import { Empty, Failure, Loading, State, Time, Version } from "../parts.js";
import { usePolled } from "../poll.js";
import { useRequests } from "../requests.js";
import { part } from "../api.js";
import { to } from "../route.js";
import { bytes, changedFiles, host, millis, percent, visible } from "../text.js";
import { Memory, Rate } from "./load.js";
import { Phases } from "./phases.js";
import { RequestTable } from "./requesttable.js";

const LAST = 5;
const TRIGGERS = {
  watch: "a file event",
  poll: "a comparison of files",
  scan: "the scan at the start",
  request: "a request, as of a deploy",
  policy: "a change of the policy",
};
const OUTCOMES = {
  unchanged: "the files are those of the version that is known",
  built: "it waits for its deploy",
};
const PHASES = ["debounce", "snapshot", "build", "publish"];

export function Now({ name, project }) {
  useLoads();
  const { data, error } = usePolled(`projects/${part(name)}/status`, 0, [project, loads.value]);
  if (error) return html`<${Failure} error=${error} />`;
  if (!data) return html`<${Loading} />`;
  const load = loads.value?.get(name);
  return html`
    <dl class="facts">
      <div>
        <dt>Requests per second</dt>
        <dd>
          <${Rate} load=${load} />
        </dd>
      </div>
      <div>
        <dt>95 % are answered within</dt>
        <dd>${millis(load?.p95_ms)}</dd>
      </div>
      <div>
        <dt>Answered with 5xx</dt>
        <dd>${load?.requests ? percent(load.error_share) : "–"}</dd>
      </div>
      <div>
        <dt>Memory</dt>
        <dd>
          <${Memory} load=${load} />
        </dd>
      </div>
    </dl>
    <${Last} name=${name} />
        ${data.routers.map((router) => html`<${AtRouter} key=${router.router} at=${router} />`)}
  `;
}

// The last requests at all routers.
function Last({ name }) {
  const { requests = [] } = useRequests(name);
  const address = to("projects", name, "requests");
  if (requests.length === 0) return null;
  return html`
    <h3>Last requests</h3>
    <${RequestTable} requests=${requests.slice(0, LAST)} addressOf=${(id) =>
      `${address}?id=${part(id)}`} />
    <p class="small"><a href=${address}>All requests</a></p>
  `;
}

function AtRouter({ at: { router, status, error } }) {
  const title = html`<h3>Router ${visible(host(router))}</h3>`;
  if (!status) {
    return html`${title}<p class="dim">${visible(error ?? "It does not have the project.")}</p>`;
  }
  const limits = status.grants?.limits;
  return html`${title}<dl class="facts">
    <div><dt>State</dt><dd><${State} state=${status.state} /></dd></div>
    <div><dt>Processes</dt><dd>${
    status.pids.length > 0 ? status.pids.join(", ") : "none"
  }</dd></div>
    <div><dt>In flight</dt><dd>${status.in_flight}<${Of} limit=${limits?.max_in_flight} /></dd></div>
    <div><dt>Waiting</dt><dd>${status.waiting}<${Of} limit=${limits?.max_queued} /></dd></div>
    <div><dt>Memory limit</dt><dd>${bytes(limits?.memory)}</dd></div>
    ${
    status.held_by && html`
      <div>
        <dt>Held by deploy</dt>
        <dd><a href=${`#/deploys/${part(status.held_by)}`}>${visible(
          status.held_by.slice(0, 8),
        )}</a></dd>
      </div>
    `
  }
    ${
    status.draining.map((old) =>
      html`
        <div key=${old.version}>
          <dt>Draining</dt>
          <dd><${Version} version=${old.version} /> ${old.in_flight} in flight</dd>
        </div>
      `
    )
  }</dl>
    <${Conflicts} conflicts=${status.conflicts} />
    <h4>Reloads</h4><${Reloads} reloads=${status.reloads} />
    ${
    status.crashes.length > 0 && html`
      <h4>Crashes</h4>
      <${Crashes} crashes=${status.crashes} />
    `
  }`;
}

// The limit of a number, behind it.
function Of({ limit }) {
  return limit === undefined ? null : html`<span class="dim">${` of ${limit}`}</span>`;
}

function Conflicts({ conflicts }) {
  if (conflicts.length === 0) return null;
  return html`
    <div class="banner warn">
      <p><b>Routes that others claim too</b></p>
      <ul>${conflicts.map((one) =>
        html`<li key=${one.route + one.rival}>${visible(one.message)}</li>`
      )}</ul>
    </div>
  `;
}

function Reloads({ reloads }) {
  if (reloads.length === 0) return html`<${Empty} title="No reload since the router started" />`;
  return html`
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th scope="col">Result</th>
            <th scope="col">When</th>
            <th scope="col">Version</th>
            <th scope="col" class="wide">Because of</th>
            <th scope="col">Time</th>
          </tr>
        </thead>
        <tbody>${reloads.map((reload) =>
          html`
            <tr key=${reload.at}>
              <td>
                <${State} state=${reload.outcome} />
              </td>
              <td class="dim">
                <${Time} at=${reload.at} />
              </td>
              <td>
                <${Version} version=${reload.version} />
              </td>
              <td class="dim wide">${[
                TRIGGERS[reload.trigger] ?? visible(reload.trigger),
                OUTCOMES[reload.outcome],
                reload.changed && visible(changedFiles(reload.changed)),
              ].filter(Boolean).join(": ")}</td>
              <td>
                <${Phases} timings=${reload.timings_ms} names=${PHASES} />
              </td>
            </tr>
          `
        )}</tbody>
      </table>
    </div>
  `;
}

function Crashes({ crashes }) {
  return html`
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th scope="col">Reason</th>
            <th scope="col">When</th>
            <th scope="col">Version</th>
            <th scope="col">What happened</th>
            <th scope="col">Restart</th>
          </tr>
        </thead>
        <tbody>${crashes.map((crash) =>
          html`
            <tr key=${crash.at}>
              <td>
                <${State} state="failed" word=${visible(crash.reason)} />
              </td>
              <td class="dim">
                <${Time} at=${crash.at} />
              </td>
              <td>
                <${Version} version=${crash.version} />
              </td>
              <td><span class="cut">${visible(crash.message)}</span></td>
              <td class="dim">${crash.restart_ms === null
                ? "not any more"
                : `after ${millis(crash.restart_ms)}`}</td>
            </tr>
          `
        )}</tbody>
      </table>
    </div>
  `;
}

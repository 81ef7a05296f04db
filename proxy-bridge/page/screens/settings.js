// @ts-check
// What a project asks for and gets: permissions, limits, entry, routes. And its removal.

import { html, useState } from "../lib.js";
import { part, send } from "../api.js";
import { loads, useLoads } from "../loads.js";
import { Dialog, Empty, Failure, Loading } from "../parts.js";
import { usePolled } from "../poll.js";
import { may } from "../session.js";
import { bytes, host, millis, plural, visible } from "../text.js";

const RIGHTS = ["read", "write", "net", "env", "sys", "run", "ffi", "import"];
/** @type {[string, string, (value: any) => string][]} */
const LIMITS = [
  ["memory", "Memory of a process", bytes],
  ["cells", "Processes", String],
  ["event_loop_ms", "One turn of the event loop", millis],
  ["workers", "Web workers", String],
  ["files", "Open files", String],
  ["disk", "Data and temporary files", bytes],
  ["disk_files", "Names of files in both", String],
  ["request_ms", "Until an answer begins", millis],
  ["body", "Request body", bytes],
  ["max_in_flight", "Requests at once", String],
  ["max_queued", "Requests that wait", String],
  ["queue_timeout_ms", "Wait for a slot", millis],
  ["project_size", "Files of the project", bytes],
  ["project_files", "Number of its files", String],
  ["project_folders", "Number of its folders", String],
  ["file_size", "One of its files", bytes],
  ["read_ms", "Reading its files", millis],
];

// The used part of each limit that the router reports.
const USED = {
  cells: (status) => status.pids.length,
  max_in_flight: (status) => status.in_flight,
  max_queued: (status) => status.waiting,
};

export function Settings({ name, project }) {
  useLoads();
  const { data, error } = usePolled(`projects/${part(name)}/status`, 0, [project, loads.value]);
  if (error) return html`<${Failure} error=${error} />`;
  if (!data) return html`<${Loading} />`;
  const at = data.routers.find((router) => router.status?.grants) ??
    data.routers.find((router) => router.status);
  if (!at) {
    return html`
      <${Empty} title="No router has read the project" />
      <${Removal} name=${name} project=${project} />
    `;
  }
  const { status } = at;
  return html`<p class="dim small">As router ${visible(host(at.router))} has it.</p>
    <dl class="facts"><div><dt>Entry</dt><dd>${
    status.entry
      ? html`
        <code>${visible(status.entry.path)}</code>
        <span class="dim"> ${visible(status.entry.reason)}</span>
      `
      : "–"
  }</dd></div>
      <div><dt>Routes</dt><dd>${
    status.routes.length > 0 ? visible(status.routes.join(", ")) : "its name alone"
  }</dd></div>
      <div><dt>Schedules in code</dt><dd>${
    status.crons.length > 0 ? visible(status.crons.join(", ")) : "none"
  }</dd></div>
      <div><dt>Owner of its data</dt><dd><code>${visible(status.incarnation)}</code></dd></div>
      ${
    status.overridden && html`
      <div>
        <dt>Read from</dt>
        <dd><code>${visible(status.overridden)}</code></dd>
      </div>
    `
  }</dl>
    ${
    status.entry?.warnings.map((warning) =>
      html`<p key=${warning} class="warning">${visible(warning)}</p>`
    )
  }
    ${
    status.grants && html`
      <h3>Permissions</h3>
      <${Rights} grants=${status.grants} />
      <h3>Limits</h3>
      <dl class="facts">${LIMITS.map(([key, title, show]) =>
        html`
          <div key=${key}>
            <dt>${title}</dt>
            <dd>${USED[key] && `${USED[key](status)} of `}${show(status.grants.limits[key])}</dd>
          </div>
        `
      )}</dl>
    `
  }
    <${Origins} name=${name} project=${project} router=${at.router} />
    <${Removal} name=${name} project=${project} />`;
}

// Each setting with the file, or the flag, that it comes from.
function Origins({ name, project, router }) {
  const { data, error } = usePolled(`projects/${part(name)}/settings`, 0, [project]);
  if (error) return html`<${Failure} error=${error} />`;
  const settings = data?.routers.find((one) => one.router === router)?.settings ?? [];
  if (settings.length === 0) return null;
  return html`
    <h3>Where settings come from</h3>
    <div class="scroll">
      <table class="wrap">
        <thead>
          <tr>
            <th scope="col">Setting</th>
            <th scope="col">Value</th>
            <th scope="col">From</th>
          </tr>
        </thead>
        <tbody>${settings.map((setting) =>
          html`
            <tr key=${setting.key}>
              <th scope="row"><code>${visible(setting.key)}</code></th>
              <td>${valueOf(setting)}</td>
              <td>${originOf(setting)}</td>
            </tr>
          `
        )}</tbody>
      </table>
    </div>
  `;
}

function valueOf({ key, value }) {
  if (value !== null) return html`<code>${visible(JSON.stringify(value))}</code>`;
  const isVariable = /^(switchyard\.)?env\./.test(key);
  return html`<span class="dim">${isVariable ? "not shown" : "none"}</span>`;
}

function originOf({ origin, file, line, flag }) {
  if (file) return html`<code>${visible(line ? `${file}:${line}` : file)}</code>`;
  if (origin === "flag") return html`<code>${visible(flag)}</code>`;
  return html`<span class="dim">${flag ? `default of ${visible(flag)}` : "default"}</span>`;
}

function Rights({ grants }) {
  const shown = RIGHTS.filter((kind) =>
    ["requested", "granted", "refused"].some((of) => grants[of][kind].length > 0)
  );
  if (shown.length === 0) return html`<p class="dim">None.</p>`;
  const list = (values) =>
    values.length > 0 ? visible(values.join(", ")) : html`<span class="dim">–</span>`;
  return html`
    <div class="scroll">
      <table class="wrap">
        <thead>
          <tr>
            <th scope="col">Kind</th>
            <th scope="col">Asked for</th>
            <th scope="col">Granted</th>
            <th scope="col">Refused</th>
          </tr>
        </thead>
        <tbody>${shown.map((kind) =>
          html`
            <tr key=${kind}>
              <th scope="row"><code>${kind}</code></th>
              <td>${list(grants.requested[kind])}</td>
              <td>${list(grants.granted[kind])}</td>
              <td class="err">${list(grants.refused[kind])}</td>
            </tr>
          `
        )}</tbody>
      </table>
    </div>
  `;
}

function Removal({ name, project }) {
  const [open, setOpen] = useState(false);
  const [problem, setProblem] = useState("");
  if (!may("delete", name) || project.removed) return null;
  const remove = async () => {
    try {
      await send("DELETE", `projects/${part(name)}`);
      setOpen(false);
    } catch (error) {
      setProblem(error.message);
    }
  };
  const live = project.routers.filter((router) => router.live).length;
  return html`<h3>Removal</h3><p><button class="btn danger" onClick=${() =>
    setOpen(true)}>Remove…</button></p>
    ${
    open && html`
      <${Dialog} title=${`Remove ${visible(name)}`} onClose=${() => setOpen(false)}>
        <p>It is live on ${plural(
          live,
          "router",
        )}. Visitors will get an error. Its files and its data are kept for a
              while, and a rollback brings both back.</p>
        <p class="err" role="alert">${visible(problem)}</p>
        <div class="buttons"><button class="btn" autofocus onClick=${() =>
          setOpen(false)}>Cancel</button>
              <button class="btn danger" onClick=${remove}>Remove</button></div>
        <//>
    `
  }`;
}

// @ts-check
// All projects: their states, versions and errors.

import { html } from "../lib.js";
import { loads, useLoads } from "../loads.js";
import { Chips, Empty, Loading, State, Time, useMore, Version } from "../parts.js";
import { route, setQuery, to } from "../route.js";
import { may } from "../session.js";
import {
  deploys,
  errorOf,
  events,
  liveOf,
  projectList,
  projects,
  routers,
  stateOf,
  useDeploys,
  useEvents,
  useProjects,
} from "../store.js";
import { amount, millis, percent, plural, visible } from "../text.js";
import { useLocks, wordsOf } from "./lock.js";
import { InFlight, Memory, Rate } from "./load.js";

const ROWS = 60;
const ORDER = [
  "stopped",
  "failed",
  "invalid",
  "stale",
  "skew",
  "building",
  "live",
  "idle",
  "removed",
];
// Key of the order, title, class.
const COLUMNS = [
  ["name", "Project", ""],
  ["state", "State", ""],
  ["", "Version", "wide"],
  ["changed", "Changed", "wide"],
  ["rate", "Requests/s", "n"],
  ["p95", "p95", "n wider"],
  ["errors", "5xx", "n wider"],
  ["flight", "In flight", "n wider"],
  ["memory", "Memory", "n wider"],
];
const TRIGGERS = {
  watch: "save",
  poll: "save",
  scan: "start",
  request: "reload",
  policy: "policy",
};

// When and how each project got the version that is live.
function changes() {
  const found = new Map();
  const note = (project, version, at, how) => {
    const known = found.get(project);
    if (!known || known.at < at) found.set(project, { version, at, how });
  };
  for (const { type, timestamp, data } of events.value ?? []) {
    if (type !== "reload.live") continue;
    const how = data.commit ? "git" : TRIGGERS[data.trigger] ?? "";
    note(data.project, data.version, timestamp, how);
  }
  for (const deploy of deploys.value?.values() ?? []) {
    if (deploy.outcome !== "live") continue;
    const how = deploy.commit ? "git" : deploy.action === "rollback" ? "rollback" : "upload";
    for (const { project, version } of deploy.projects) {
      const known = found.get(project);
      const by = deploy.by ? `${how} by ${deploy.by}` : how;
      if (known?.version === version) known.how = by;
      else note(project, version, deploy.at, by);
    }
  }
  return found;
}

function sorted(rows, sort) {
  const down = sort.startsWith("-");
  const by = {
    name: (a, b) => (a.project.project < b.project.project ? -1 : 1),
    state: (a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state),
    changed: (a, b) => Date.parse(b.changed?.at ?? 0) - Date.parse(a.changed?.at ?? 0),
    rate: (a, b) => (a.load?.per_second ?? 0) - (b.load?.per_second ?? 0),
    p95: (a, b) => (a.load?.p95_ms ?? 0) - (b.load?.p95_ms ?? 0),
    errors: (a, b) => (a.load?.error_share ?? 0) - (b.load?.error_share ?? 0),
    flight: (a, b) => (a.load?.used.in_flight ?? 0) - (b.load?.used.in_flight ?? 0),
    memory: (a, b) => (a.load?.used.memory ?? 0) - (b.load?.used.memory ?? 0),
  }[sort.replace("-", "")];
  if (by) rows.sort((a, b) => down ? by(b, a) : by(a, b));
  return rows;
}

function Strip({ counts }) {
  const list = routers.value ?? [];
  const ready = list.filter((router) => router.ready).length;
  const under =
    [...deploys.value?.values() ?? []].filter((deploy) => deploy.outcome === null).length;
  const total = [...loads.value?.values() ?? []].reduce((sum, load) => sum + load.per_second, 0);
  return html`<div class="strip"><span><b>${projects.value.size}</b> ${
    projects.value.size === 1 ? "project" : "projects"
  }</span>
    <a href="#/routers"><b>${ready} / ${list.length}</b> routers ready</a>
    ${loads.value && html`<span><b>${amount(total)}</b> requests/s</span>`}
    <a href="#/deploys"><b>${under}</b> ${under === 1 ? "deploy" : "deploys"} under way</a>
    ${
    ["stale", "failed", "stopped", "skew"].filter((state) => counts.get(state)).map((state) =>
      html`<span key=${state}><b>${counts.get(state)}</b> ${state}</span>`
    )
  }</div>`;
}

function Row({ row: { project, state, changed, load, lock } }) {
  const live = liveOf(project);
  const error = errorOf(project);
  const on = project.routers.filter((router) => router.live).length;
  const many = project.routers.length > 1;
  return html`
    <tr>
      <th scope="row"><a class="name" data-row href=${to("projects", project.project)}>${visible(
        project.project,
      )}</a>${lock && html`
        ${" "}<span class="tag" title=${wordsOf(lock)}>locked</span>
      `}</th>
      <td><${State} state=${state} />${many &&
        html`<span class="dim">${` ${on} of ${project.routers.length}`}</span>`}${error &&
        html`<span class="err cut why">${visible(error.message.split("\n")[0])}</span>`}</td>
      <td class="wide">
        <${Version} version=${live?.version} />
      </td>
      <td class="dim wide">${changed
        ? html`<${Time} at=${changed.at} />, ${visible(changed.how)}`
        : "–"}</td>
      <td class="n">
        <${Rate} load=${load} />
      </td>
      <td class="n wider">${millis(load?.p95_ms)}</td>
      <td class="n wider">${load?.requests ? percent(load.error_share) : "–"}</td>
      <td class="n wider">
        <${InFlight} load=${load} />
      </td>
      <td class="n wider">
        <${Memory} load=${load} />
      </td>
    </tr>
  `;
}

function Heading({ column: [key, title, looks], sort }) {
  if (!key) return html`<th scope="col" class=${looks}>${title}</th>`;
  const is = sort.replace("-", "") === key;
  const down = sort.startsWith("-");
  // Numbers begin with the largest.
  const next = (is ? !down : looks.startsWith("n")) ? `-${key}` : key;
  return html`<th scope="col" class=${looks} aria-sort=${
    is ? (down ? "descending" : "ascending") : "none"
  }>
    <button class="sort" onClick=${() => setQuery({ sort: next })}>${title}${
    is ? (down ? " ↓" : " ↑") : ""
  }</button></th>`;
}

export function Overview() {
  useProjects();
  useDeploys();
  useEvents();
  useLoads();
  const { locks } = useLocks();
  const { query } = route.value;
  const [state, text, sort] = ["state", "q", "sort"].map((name) => query.get(name) ?? "");
  const changed = changes();
  const all = projectList.value.map((project) => ({
    project,
    state: stateOf(project),
    changed: changed.get(project.project),
    load: loads.value?.get(project.project),
    lock: locks.get(project.project),
  }));
  const counts = new Map();
  for (const row of all) counts.set(row.state, (counts.get(row.state) ?? 0) + 1);
  const wanted = text.toLowerCase();
  const rows = sorted(
    all.filter((row) =>
      (!state || row.state === state) && row.project.project.toLowerCase().includes(wanted)
    ),
    sort,
  );
  const { shown, more } = useMore(rows.length, ROWS);
  const chips = [
    ["", `All ${all.length}`],
    ...ORDER.filter((name) => counts.get(name) || name === state)
      .map((name) => [name, `${name} ${counts.get(name) ?? 0}`]),
  ];
  return html`<div class="row"><h1 tabindex="-1">Projects</h1><span class="grow"></span>
    ${may("deploy") && html`<a class="btn p" href="#/deploys/new">Deploy…</a>`}</div>
    ${
    projects.value === undefined ? html`<${Loading} />` : html`<${Strip} counts=${counts} />
    <div class="bar-of-filters"><${Chips} label="State" chips=${chips} current=${state}
      choose=${(value) => setQuery({ state: value })} />
      <input type="search" aria-label="Search projects" placeholder="Search projects ( / )" value=${text}
        onInput=${(event) => setQuery({ q: event.target.value })} /></div>
    <p class="sr" role="status">${plural(rows.length, "project")}</p>
    ${
      rows.length === 0 ? html`<${None} filtered=${all.length > 0} />` : html`
        <div class="scroll">
          <table>
            <thead>
              <tr>${COLUMNS.map((column) =>
                html`<${Heading} key=${column[1]} column=${column} sort=${sort} />`
              )}</tr>
            </thead>
            <tbody>${rows.slice(0, shown).map((row) =>
              html`<${Row} key=${row.project.project} row=${row} />`
            )}</tbody>
          </table>
        </div>${more}
      `
    }`
  }`;
}

function None({ filtered }) {
  if (filtered) {
    return html`
      <${Empty} title="No project is like that">
        <p><button class="btn" onClick=${() => setQuery({ q: "", state: "" })}>Show all</button></p>
        <//>
    `;
  }
  if (!may("read")) {
    return html`
      <${Empty} title="This token does not allow you to see projects">
        <p>Sign in with a token whose <code>actions</code> have <code>read</code>.</p>
        <//>
    `;
  }
  if (!may("deploy")) {
    return html`
      <${Empty} title="There are no projects yet">
        <p>There are none that this token is for, and it does not allow you to deploy one.</p>
        <//>
    `;
  }
  return html`
    <${Empty} title="There are no projects yet">
      <p>Put a folder with a <code>main.ts</code> on the volume, run <code>switchyard deploy</code> in one,
          or <a href="#/deploys/new">drop one here</a>.</p>
      <//>
  `;
}

// @ts-check
// All projects: their states, versions and errors.

import { html } from "../lib.js";
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
import { plural, visible } from "../text.js";

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
const COLUMNS = [["name", "Project"], ["state", "State"], ["", "Version"], ["changed", "Changed"]];
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
  }[sort.replace("-", "")];
  if (by) rows.sort((a, b) => down ? by(b, a) : by(a, b));
  return rows;
}

function Strip({ counts }) {
  const list = routers.value ?? [];
  const ready = list.filter((router) => router.ready).length;
  const under =
    [...deploys.value?.values() ?? []].filter((deploy) => deploy.outcome === null).length;
  return html`<div class="strip"><span><b>${projects.value.size}</b> projects</span>
    <a href="#/routers"><b>${ready} / ${list.length}</b> routers ready</a>
    <a href="#/deploys"><b>${under}</b> ${under === 1 ? "deploy" : "deploys"} under way</a>
    ${
    ["stale", "failed", "stopped", "skew"].filter((state) => counts.get(state)).map((state) =>
      html`<span key=${state}><b>${counts.get(state)}</b> ${state}</span>`
    )
  }</div>`;
}

function Row({ row: { project, state, changed } }) {
  const live = liveOf(project);
  const error = errorOf(project);
  const on = project.routers.filter((router) => router.live).length;
  const many = project.routers.length > 1;
  return html`
    <tr>
      <th scope="row"><a class="name" data-row href=${to("projects", project.project)}>${visible(
        project.project,
      )}</a></th>
      <td><${State} state=${state} />${many &&
        html`<span class="dim">${` ${on} of ${project.routers.length}`}</span>`}</td>
      <td class="wide">
        <${Version} version=${live?.version} />
      </td>
      <td class="dim wide">${changed
        ? html`<${Time} at=${changed.at} />, ${visible(changed.how)}`
        : "–"}</td>
      <td class="err"><span class="cut">${error &&
        visible(error.message.split("\n")[0])}</span></td>
    </tr>
  `;
}

function Heading({ column: [key, title], sort }) {
  const wide = key === "" || key === "changed" ? "wide" : "";
  if (!key) return html`<th scope="col" class=${wide}>${title}</th>`;
  const is = sort.replace("-", "") === key;
  const down = sort.startsWith("-");
  const next = is && !down ? `-${key}` : key;
  return html`<th scope="col" class=${wide} aria-sort=${
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
  const { query } = route.value;
  const [state, text, sort] = ["state", "q", "sort"].map((name) => query.get(name) ?? "");
  const changed = changes();
  const all = projectList.value.map((project) => ({
    project,
    state: stateOf(project),
    changed: changed.get(project.project),
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
                html`<${Heading} key=${column[0]} column=${column} sort=${sort} />`
              )}
                <th scope="col">Last error</th></tr>
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
  return html`
    <${Empty} title="There are no projects yet">
      <p>Put a folder with a <code>main.ts</code> on the volume, run <code>switchyard deploy</code> in one,
          or <a href="#/deploys/new">drop one here</a>.</p>
      <//>
  `;
}

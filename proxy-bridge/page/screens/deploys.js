// @ts-check
// The deploys that the bridge remembers.

import { html } from "../lib.js";
import { Chips, Commit, Empty, Loading, State, Time, useMore } from "../parts.js";
import { route, setQuery, to } from "../route.js";
import { may } from "../session.js";
import { deploys, useDeploys } from "../store.js";
import { visible } from "../text.js";
import { Phases } from "./phases.js";
import { DEPLOY_PHASES } from "./versions.js";

const ROWS = 60;

export function outcomeOf(deploy) {
  return deploy.outcome ?? "running";
}

export function Deploys() {
  useDeploys();
  const { query } = route.value;
  const [text, outcome] = [query.get("q") ?? "", query.get("outcome") ?? ""];
  const all = [...deploys.value?.values() ?? []].sort((a, b) =>
    Date.parse(b.at) - Date.parse(a.at)
  );
  const outcomes = [...new Set([...all.map(outcomeOf), ...outcome ? [outcome] : []])].sort();
  const wanted = text.toLowerCase();
  const rows = all.filter((deploy) =>
    (!outcome || outcomeOf(deploy) === outcome) &&
      [deploy.by, deploy.message, ...deploy.projects.map((one) => one.project)].some((one) =>
        one?.toLowerCase().includes(wanted)
      ) ||
    (!wanted && !outcome)
  );
  const { shown, more } = useMore(rows.length, ROWS);
  return html`<div class="row"><h1 tabindex="-1">Deploys</h1><span class="grow"></span>
    ${may("deploy") && html`<a class="btn p" href="#/deploys/new">New deploy…</a>`}</div>
    ${
    deploys.value === undefined ? html`<${Loading} />` : html`<div class="bar-of-filters">
      <${Chips} label="Outcome" current=${outcome} choose=${(value) => setQuery({ outcome: value })}
        chips=${[["", `All ${all.length}`], ...outcomes.map((name) => [name, name])]} />
      <input type="search" aria-label="Search deploys" placeholder="Project, person, message" value=${text} onInput=${(
      event,
    ) => setQuery({ q: event.target.value })} /></div>
    ${
      rows.length === 0
        ? html`
          <${Empty} title=${all.length > 0
            ? "No deploy is like that"
            : "Nothing was deployed through the bridge yet"}>
            <p>Saves on the volume go live without a deploy.</p>
            <//>
        `
        : html`
          <div class="scroll">
            <table>
              <thead>
                <tr>
                  <th scope="col">Project</th>
                  <th scope="col">Outcome</th>
                  <th scope="col">When</th>
                  <th scope="col" class="wide">By</th>
                  <th scope="col">Message</th>
                  <th scope="col" class="wide">Time</th>
                </tr>
              </thead>
              <tbody>${rows.slice(0, shown).map((deploy) =>
                html`<${Row} key=${deploy.deploy} deploy=${deploy} />`
              )}</tbody>
            </table>
          </div>${more}
        `
    }`
  }`;
}

function Row({ deploy }) {
  const names = deploy.projects.map((one) => one.project).join(", ") || "…";
  return html`
    <tr>
      <th scope="row"><a class="name" data-row href=${to("deploys", deploy.deploy)}>${visible(
        names,
      )}</a></th>
      <td><${State} state=${outcomeOf(deploy)} word=${deploy.outcome ??
        deploy.phase} /> <span class="dim">${deploy.action === "deploy"
        ? ""
        : visible(deploy.action)}</span></td>
      <td class="dim">
        <${Time} at=${deploy.at} />
      </td>
      <td class="dim wide">${visible(deploy.by ?? "–")}</td>
      <td><span class="cut">${deploy.message
        ? visible(deploy.message)
        : html`<span class="dim">–</span>`}</span> <${Commit} commit=${deploy.commit} /></td>
      <td class="wide">
        <${Phases} timings=${deploy.timings_ms} names=${DEPLOY_PHASES} />
      </td>
    </tr>
  `;
}

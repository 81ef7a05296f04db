// @ts-check
// One deploy: its projects, its phases and what each router reported.

import { part } from "../api.js";
import { html } from "../lib.js";
import { Commit, Copy, ErrorFrame, Failure, Loading, State, Time, Version } from "../parts.js";
import { usePolled } from "../poll.js";
import { to } from "../route.js";
import { deploys, useDeploys } from "../store.js";
import { bytes, host, millis, plural, visible } from "../text.js";
import { outcomeOf } from "./deploys.js";
import { Phases } from "./phases.js";
import { DEPLOY_PHASES } from "./versions.js";

export function Deploy({ id }) {
  useDeploys();
  const { data, error } = usePolled(`deploys/${part(id)}`, 0);
  const deploy = deploys.value?.get(id) ?? data;
  if (!deploy) {
    return html`
      <nav class="crumbs" aria-label="Path"><a href="#/deploys">Deploys</a></nav>
            <div class="row">
        <h1 tabindex="-1">Deploy</h1>
      </div>${error ? html`<${Failure} error=${error} />` : html`<${Loading} />`}
    `;
  }
  const title = deploy.projects.map((one) => one.project).join(", ") || "Deploy";
  return html`
    <nav class="crumbs" aria-label="Path"><a href="#/deploys">Deploys</a> / ${visible(
      id.slice(0, 8),
    )}</nav>
        <div class="row">
      <h1 tabindex="-1">${visible(title)}</h1>
      <${State} state=${outcomeOf(deploy)} word=${deploy.outcome ?? deploy.phase} />
    </div>
        ${deploy.problem && html`
          <div class="banner" role="alert">
            <p><b>${visible(deploy.problem.detail ?? deploy.problem.title)}</b></p>
          </div>
        `}
        <dl class="facts">
      <div>
        <dt>Action</dt>
        <dd>${visible(deploy.action)}${deploy.by && ` by ${visible(deploy.by)}`}</dd>
      </div>
      <div>
        <dt>When</dt>
        <dd>
          <${Time} at=${deploy.at} />
        </dd>
      </div>
      <div>
        <dt>Message</dt>
        <dd>${visible(deploy.message ?? "–")} <${Commit} commit=${deploy.commit} /></dd>
      </div>
      <div>
        <dt>Id</dt>
        <dd>
          <${Copy} text=${deploy.deploy} shown=${deploy.deploy.slice(0, 8)} label="Copy id" />
        </dd>
      </div>
      <div>
        <dt>Time</dt>
        <dd>
          <${Phases} timings=${deploy.timings_ms} names=${DEPLOY_PHASES} />
        </dd>
      </div>
    </dl>
        <ol class="progress">${DEPLOY_PHASES.filter((name) => deploy.timings_ms[name] !== undefined)
          .map((name) =>
            html`<li key=${name}>${name} <span class="dim">${
              millis(deploy.timings_ms[name])
            }</span></li>`
          )}</ol>
        <h2>Projects</h2><ul class="plain">${deploy.projects.map((one) =>
          html`<li key=${one.project}>
      <a href=${to("projects", one.project)}>${
            visible(one.project)
          }</a> <${Version} version=${one.version} />
      <span class="dim"> ${plural(one.files, "file")}, ${bytes(one.bytes)}${
            one.previous ? `, before: ${visible(one.previous)}` : ""
          }</span></li>`
        )}</ul>
        <h2>Routers</h2>${deploy.routers.map((router) =>
          html`<section key=${router.router}>
      <h3>${visible(host(router.router))}${
            deploy.behind.includes(router.router) && html`
              <${State} state="behind" />
            `
          }</h3>
      ${router.error && html`<p class="err">${visible(router.error)}</p>`}
      ${
            router.reports.map((report) =>
              html`<div key=${report.project}><${State} state=${report.outcome} word=${`${
                visible(report.project)
              }: ${report.outcome}`} />
        ${report.error && html`<${ErrorFrame} error=${report.error} />`}</div>`
            )
          }</section>`
        )}
  `;
}

// @ts-check
// One project: its header, the error that it has, and its tabs.

import { html, useEffect, useState } from "../lib.js";
import { ErrorFrame, Loading, State, Tabs, Version } from "../parts.js";
import { part, send } from "../api.js";
import { to } from "../route.js";
import { may } from "../session.js";
import { errorOf, liveOf, projects, routers, stateOf, useProjects } from "../store.js";
import { short, visible } from "../text.js";
import { LockBanner, LockButton, useLocks } from "./lock.js";
import { Logs } from "./logs.js";
import { Metrics } from "./metrics.js";
import { Now } from "./now.js";
import { Requests } from "./requests.js";
import { Settings } from "./settings.js";
import { Versions } from "./versions.js";

const TABS = {
  now: ["Now", Now],
  versions: ["Versions", Versions],
  logs: ["Logs", Logs],
  requests: ["Requests", Requests],
  metrics: ["Metrics", Metrics],
  settings: ["Settings", Settings],
};

export function Project({ name, tab }) {
  useProjects();
  const { locks, again } = useLocks();
  const lock = locks.get(name);
  const [title, Screen] = TABS[tab] ?? TABS.now;
  const current = TABS[tab] ? tab : "now";
  const project = projects.value?.get(name);
  if (!projects.value) {
    // The heading stays the same element, so that it keeps the focus.
    return html`
      <${Crumbs} name=${name} />
      <div class="row">
        <h1 tabindex="-1">${visible(name)}</h1>
      </div>
      <${Loading} />
    `;
  }
  if (!project) {
    return html`
      <${Crumbs} name=${name} />
      <h1 tabindex="-1">There is no project ${visible(name)}</h1>
      ${!may("read", name) && html`<p>Or this token is not for it.</p>`}
      <p>${may("deploy", name) && html`
        <a href=${`#/deploys/new?project=${encodeURIComponent(name)}`}>Deploy it</a>, or see${" "}
      `}<a href="#/">${may("deploy", name) ? "all projects" : "All projects"}</a></p>
    `;
  }
  const live = liveOf(project);
  const state = stateOf(project);
  if (state === "invalid") {
    return html`
      <${Crumbs} name=${name} />
      <div class="row">
        <h1 tabindex="-1">${visible(name)}</h1>
        <${State} state=${state} />
      </div>
      <${Banner} project=${project} />
    `;
  }
  const open = routers.value?.find((router) => router.ready && router.public)?.public;
  const deploy = `#/deploys/new?project=${encodeURIComponent(name)}`;
  return html`
    <${Crumbs} name=${name} />
    <div class="row"><h1 tabindex="-1">${visible(name)}</h1><${State} state=${state} />
          ${live && html`<${Version} version=${live.version} />`}<span class="grow"></span>
          ${may("deploy", name) && html`<${Reload} name=${name} />`}
          ${may("publish", name) && !lock &&
            html`<${LockButton} name=${name} again=${again} />`}
          ${open && live && html`
            <a class="btn" target="_blank" rel="noreferrer"
              href=${`${open}/${encodeURIComponent(name)}/`}>Open ↗</a>
          `}
          ${may("deploy", name) && html`<a class="btn p" href=${deploy}>Deploy…</a>`}</div>
    <${LockBanner} name=${name} lock=${lock} again=${again} />
    <${Banner} project=${project} />
    <${Tabs} label="Parts of the project" current=${current}
      tabs=${Object.entries(TABS).map(([key, [text]]) => [key, text, to("projects", name, key)])} />
    <h2 class="sr">${title}</h2>
    <${Screen} name=${name} project=${project} />
  `;
}

// Has every router read the project again.
function Reload({ name }) {
  const [result, setResult] = useState("");
  const reload = async () => {
    setResult("Reloading…");
    try {
      const { routers } = await send("POST", `projects/${part(name)}/reload`);
      const outcomes = new Set(routers.map((router) => router.report?.outcome ?? "no answer"));
      setResult([...outcomes].join(", "));
    } catch (error) {
      setResult(error.message);
    }
  };
  return html`
    <span class="dim" role="status">${visible(result)}</span>
    <button class="btn" onClick=${reload}>Reload</button>
  `;
}

function Crumbs({ name }) {
  return html`<nav class="crumbs" aria-label="Path"><a href="#/">Projects</a> / ${
    visible(name)
  }</nav>`;
}

// What is wrong, before everything else.
function Banner({ project }) {
  const error = errorOf(project);
  const [open, setOpen] = useState(true);
  useEffect(() => setOpen(true), [error?.message]);
  if (project.removed) {
    return html`
      <div class="banner warn">
        <p><b>This project is removed.</b> A rollback brings it back until
            ${" "}<time>${project.removed.until}</time>.</p>
      </div>
    `;
  }
  if (!error) return null;
  const at = project.routers.find((router) => router.error);
  const what = {
    stopped: `${at.live?.version ?? project.project} is stopped.`,
    invalid: `${project.project} is no project.`,
  }[at.state] ?? `${at.on_disk?.version ?? project.project} does not build.`;
  const rest = at.live && at.state !== "stopped"
    ? `Visitors get ${short(at.live.version)}.`
    : "Visitors get an error.";
  return html`
    <div
      class="banner"><p><b>${visible(what)}</b> <span class="dim">${visible(
        rest,
      )}</span> <button class="link" aria-expanded=${open ? "true" : "false"} onClick=${() =>
        setOpen(!open)}>${open ? "Hide the error" : "Show the error"}</button></p>${open &&
        html`<${ErrorFrame} error=${error} />`}</div>
  `;
}

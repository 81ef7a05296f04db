// @ts-check
// The routers, and where they serve different versions.

import { html } from "../lib.js";
import { Copy, Empty, Failure, Loading, State, Version } from "../parts.js";
import { usePolled } from "../poll.js";
import { to } from "../route.js";
import { projectList, routers, useProjects } from "../store.js";
import { host, plural, visible } from "../text.js";

export function stateOfRouter(router) {
  if (!router.reachable) return "away";
  if (!router.ready) return "starting";
  return router.behind.length > 0 ? "behind" : "ready";
}

export function Routers() {
  useProjects();
  if (!routers.value) {
    return html`
      <h1 tabindex="-1">Routers</h1>
      <${Loading} />
    `;
  }
  const skewed = projectList.value.filter((project) => project.skew);
  return html`<h1 tabindex="-1">Routers</h1>
    ${
    routers.value.length === 0
      ? html`
        <${Empty} title="The bridge knows no router">
          <p>Name one with <code>--router</code>.</p>
          <//>
      `
      : html`
        <div class="scroll">
          <table>
            <thead>
              <tr>
                <th scope="col">Router</th>
                <th scope="col">State</th>
                <th scope="col">Public address</th>
                <th scope="col">Projects</th>
                <th scope="col">Behind in</th>
                <th scope="col" class="wide">Installs packages</th>
              </tr>
            </thead>
            <tbody>${routers.value.map((router) =>
              html`<${Row} key=${router.router} router=${router} />`
            )}</tbody>
          </table>
        </div>
      `
  }
    <${Sandbox} />
    <h2>Different versions</h2>
    ${
    skewed.length === 0
      ? html`<p class="dim">All routers that can be reached serve the same versions.</p>`
      : html`
        <div class="scroll">
          <table>
            <thead>
              <tr><th scope="col">Project</th>${routers.value.map((router) =>
                html`<th scope="col" key=${router.router}>${visible(host(router.router))}</th>`
              )}</tr>
            </thead>
            <tbody>${skewed.map((project) =>
              html`
                <tr
                  key=${project.project}><th scope="row"><a data-row href=${to(
                    "projects",
                    project.project,
                  )}>${visible(project.project)}</a></th>${project.routers.map((at) =>
                    html`
                      <td key=${at.router}>
                        <${Version} version=${at.live?.version} />
                      </td>
                    `
                  )}</tr>
              `
            )}</tbody>
          </table>
        </div>
      `
  }`;
}

const LAYERS = { on: "ready", partial: "behind", off: "failed" };

// The layers that keep projects apart, at each router.
function Sandbox() {
  const known = routers.value.map((router) => `${router.router} ${router.reachable}`).join();
  const { data, error } = usePolled("routers/sandbox", 0, [known]);
  if (error) return html`<${Failure} error=${error} />`;
  if (!data) return null;
  return html`
    <h2>Sandbox</h2>
    ${data.errors.map((one) =>
      html`<p key=${one.router} class="warning">${visible(host(one.router))}: ${
        visible(one.error)
      }</p>`
    )}
    ${data.routers.map((at) =>
      html`<${Layers} key=${at.router} at=${at} of=${data.routers.length} />`
    )}
  `;
}

function Layers({ at: { router, layers, missing }, of }) {
  const others = missing.filter((text) => layers.every(({ detail }) => !detail.includes(text)));
  return html`
    ${of > 1 && html`<h3>Router ${visible(host(router))}</h3>`}
    <div class="scroll">
      <table class="wrap">
        <thead>
          <tr>
            <th scope="col">Layer</th>
            <th scope="col">State</th>
            <th scope="col">How</th>
          </tr>
        </thead>
        <tbody>${layers.map(({ name, state, detail }) =>
          html`
            <tr key=${name}>
              <th scope="row"><code>${visible(name)}</code></th>
              <td>
                <${State} state=${LAYERS[state] ?? ""} word=${visible(state)} />
              </td>
              <td>${visible(detail)}</td>
            </tr>
          `
        )}</tbody>
      </table>
    </div>
    ${others.map((text) => html`<p key=${text} class="warning">Missing: ${visible(text)}</p>`)}
  `;
}

function Row({ router }) {
  const count =
    projectList.value.filter((project) =>
      project.routers.some((at) => at.router === router.router && at.live)
    ).length;
  return html`
    <tr>
      <th scope="row">
        <${Copy} text=${router.router} shown=${host(router.router)} label="Copy address" />
      </th>
      <td>
        <${State} state=${stateOfRouter(router)} />
      </td>
      <td>${router.public
        ? html`<${Copy} text=${router.public} shown=${host(router.public)} label="Copy address" />`
        : "–"}</td>
      <td>${plural(count, "project")}</td>
      <td>${visible(router.behind.join(", ") || "–")}</td>
      <td class="wide">${router.installs ? "yes" : "no"}</td>
    </tr>
  `;
}

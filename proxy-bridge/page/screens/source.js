// @ts-check
// One git source: its commits, its projects, and what an operator decides about it.

import { part, send } from "../api.js";
import { html, useState } from "../lib.js";
import { Copy, Failure, Loading, State, Time } from "../parts.js";
import { usePolled } from "../poll.js";
import { to } from "../route.js";
import { may } from "../session.js";
import { bytes, visible } from "../text.js";
import { stateOfSource } from "./sources.js";

export function Source({ name }) {
  const path = `sources/${part(name)}`;
  const { data: source, error, again } = usePolled(path, 3000);
  const [result, setResult] = useState("");
  const [explained, setExplained] = useState(false);
  const act = async (method, what, words) => {
    setResult(`${words}…`);
    try {
      const answer = await send(method, `${path}/${what}`);
      setResult(answer?.outcome ? `${words}: ${answer.outcome}` : `${words}: done`);
    } catch (failed) {
      setResult(failed.message);
    }
    again();
  };
  const head = html`<nav class="crumbs" aria-label="Path"><a href="#/sources">Sources</a> / ${
    visible(name)
  }</nav>`;
  if (!source) {
    return html`
      ${head}<div class="row">
        <h1 tabindex="-1">${visible(name)}</h1>
      </div>${error ? html`<${Failure} error=${error} />` : html`<${Loading} />`}
    `;
  }
  const publish = may("publish");
  return html`
    ${head}<div
      class="row"><h1 tabindex="-1">${visible(name)}</h1><${State} state=${stateOfSource(
        source,
      )} /><span class="grow"></span>
          ${may("sync") &&
            html`<button class="btn" onClick=${() =>
              act("POST", "sync", "Sync")}>Sync now</button>`}
          ${publish && source.ready &&
            html`<button class="btn p" onClick=${() =>
              act("POST", "publish", "Publish")}>Publish</button>`}
          ${publish && source.asks.length > 0 &&
            html`<button class="btn p" onClick=${() =>
              act("POST", "approve", "Approval of the removals")}>Approve removals</button>`}
          ${publish &&
            html`<button class="btn" onClick=${() =>
              act(
                source.frozen ? "DELETE" : "POST",
                "freeze",
                source.frozen ? "Unfreeze" : "Freeze",
              )}>${source.frozen ? "Unfreeze" : "Freeze"}</button>`}</div>
        <p class="dim" role="status">${visible(result)}</p>
        ${source.problem && html`
          <div class="banner">
            <p><b>${visible(source.problem.detail)}</b> <span class="dim">since <${Time} at=${source
              .problem.since} /></span></p>
          </div>
        `}
        ${source.frozen && html`
          <div class="banner warn">
            <p><b>${visible(source.frozen)}</b></p>
          </div>
        `}
        ${source.asks.length > 0 && html`
          <div class="banner warn">
            <p>Removals wait for approval: <b>${visible(source.asks.join(", "))}</b></p>
          </div>
        `}
        <dl
      class="facts"><div><dt>Repository</dt><dd><${Copy} text=${source
        .url} label="Copy address" /></dd></div>
          <div><dt>Follows</dt><dd><code>${visible(
            source.follows,
          )}</code>, ${source.publish === "hold" ? "published by hand" : "live at once"}</dd></div>
          ${[["Live commit", "applied"], ["Newest commit", "seen"], [
            "Waits to be published",
            "ready",
          ], ["Failed commit", "failed"]].filter(([, key]) => source[key]).map(([title, key]) =>
            html`
              <div key=${key}>
                <dt>${title}</dt>
                <dd>
                  <${Copy} text=${source[key]} shown=${source[key].slice(
                    0,
                    12,
                  )} label="Copy commit" />
                </dd>
              </div>
            `
          )}
          <div><dt>Synced</dt><dd><${Time} at=${source
            .synced_at} /></dd></div><div><dt>Next poll</dt><dd><${Time} at=${source
            .next_poll} /></dd></div>
          ${source.last_hook && html`
            <div>
              <dt>Last webhook</dt>
              <dd><${Time} at=${source.last_hook.at} />, ${visible(
                source.last_hook.detail,
              )}${source.last_hook.accepted ? "" : " (refused)"}</dd>
            </div>
          `}
          <div><dt>Mirror</dt><dd>${bytes(source.mirror_bytes)}</dd></div></dl>
        <h2>Projects</h2><div class="scroll">
      <table>
        <thead>
          <tr>
            <th scope="col">Project</th>
            <th scope="col">Folder</th>
            <th scope="col">State</th>
          </tr>
        </thead>
        <tbody>${source.projects.map((one) =>
          html`
            <tr key=${one.project}>
              <th scope="row"><a data-row href=${to("projects", one.project)}>${visible(
                one.project,
              )}</a></th>
              <td class="v">${visible(one.path)}</td>
              <td>${one.overridden
                ? html`<${State} state="warn" word=${`read from ${visible(one.overridden)}`} />`
                : one.drift || one.missing
                ? html`<${State} state="behind" word="drift: the volume has other files" />`
                : html`<${State} state="live" word="as committed" />`}</td>
            </tr>
          `
        )}</tbody>
      </table>
    </div>
        <p><button class="btn" aria-expanded=${explained ? "true" : "false"} onClick=${() =>
          setExplained(!explained)}>Explain the newest commit</button></p>
        ${explained && html`<${Explained} path=${`${path}/explain`} />`}
  `;
}

function Explained({ path }) {
  const { data, error } = usePolled(path, 0);
  if (error) return html`<${Failure} error=${error} />`;
  if (!data) return html`<${Loading} />`;
  return html`${data.notes.map((note) => html`<p key=${note}>${visible(note)}</p>`)}
    <ul class="plain">${
    data.projects.map((one) =>
      html`<li key=${one.project}><b>${visible(one.project)}</b> ${
        visible(one.change)
      }: <span class="dim">${visible(one.reason)}</span></li>`
    )
  }</ul>`;
}

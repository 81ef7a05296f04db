// @ts-check
// One task or pipeline: when it runs, why it did or did not, and starting it.

import { part, send } from "../api.js";
import { html, useState } from "../lib.js";
import { Dialog, Failure, Loading, State, Version } from "../parts.js";
import { usePolled } from "../poll.js";
import { go, to } from "../route.js";
import { may } from "../session.js";
import { full, plural, visible } from "../text.js";
import { RunTable, words } from "./tasks.js";

export function Task({ id }) {
  const { data: task, error } = usePolled(`tasks/${part(id)}`, 3000);
  const runs = usePolled(`runs?limit=50&task=${part(id)}`, 3000);
  const [open, setOpen] = useState(false);
  const project = id.split(":")[0];
  const head = html`<nav class="crumbs" aria-label="Path"><a href="#/tasks">Tasks</a> / ${
    visible(id)
  }</nav>`;
  if (!task) {
    return html`
      ${head}<div class="row">
        <h1 tabindex="-1">${visible(id)}</h1>
      </div>${error ? html`<${Failure} error=${error} />` : html`<${Loading} />`}
    `;
  }
  return html`
    ${head}<div class="row"><h1 tabindex="-1">${visible(id)}</h1>${task.is_pipeline &&
      html`<span class="tag">pipeline</span>`}
          <${Version} version=${task.version} /><span class="grow"></span>
          ${may("run", project) &&
            html`<button class="btn p" onClick=${() => setOpen(true)}>Run…</button>`}</div>
        ${task.description && html`<p>${visible(task.description)}</p>`}
        <dl class="facts">
      <div>
        <dt>Declared in</dt>
        <dd><code>${visible(task.declared_in)}</code> of <a href=${to(
          "projects",
          project,
        )}>${visible(project)}</a></dd>
      </div>
      <div>
        <dt>Started by</dt>
        <dd>${visible(task.triggers.map(words).join(", ") || "hand")}${task.enabled
          ? ""
          : " (off)"}</dd>
      </div>
      <div>
        <dt>Under way</dt>
        <dd>${plural(task.under_way, "run")}, ${task.waiting} waiting</dd>
      </div>
      <div>
        <dt>Next</dt>
        <dd>${task.next_times.length > 0
          ? task.next_times.map((at) => html`<div key=${at}>${full(at)}</div>`)
          : "–"}</dd>
      </div>
    </dl>
        ${task.occurrences.length > 0 && html`
          <h2>Due times</h2>
          <ul class="plain">${task.occurrences.map((one) =>
            html`<li key=${one.due_at}>
      <${State} state=${
              one.outcome === "ran" ? "done" : one.outcome === "missed" ? "failed" : "idle"
            } word=${one.outcome} /> <span class="dim">${full(one.due_at)}</span>
      ${
              one.run && html`
                <a href=${to("runs", one.run)}>run</a>
              `
            } ${one.reason && html`<span class="dim">${visible(one.reason)}</span>`}</li>`
          )}</ul>
        `}
        <h2>Runs</h2>${runs.data && html`<${RunTable} runs=${runs.data.runs} />`}
        ${open && html`<${Start} task=${task} onClose=${() => setOpen(false)} />`}
  `;
}

function Start({ task, onClose }) {
  const [params, setParams] = useState("{}");
  const [problem, setProblem] = useState("");
  const taken = task.spec?.params ?? [];
  const start = async (event) => {
    event.preventDefault();
    try {
      const path = `${task.is_pipeline ? "pipelines" : "tasks"}/${part(task.task)}/run`;
      const { run } = await send("POST", path, { params: JSON.parse(params) });
      go(to("runs", run.id));
    } catch (error) {
      const all = error.problem?.problems;
      setProblem(
        Array.isArray(all) ? all.map((one) => one.message ?? one).join("; ") : error.message,
      );
    }
  };
  return html`
    <${Dialog} title=${`Run ${visible(task.task)}`} onClose=${onClose}>
      <form onSubmit=${start}>
        <label for="params">Parameters, as JSON</label>
        <textarea id="params" rows="5" spellcheck="false" autofocus value=${params} onInput=${(
          event,
        ) => setParams(event.target.value)}></textarea>
        ${taken.length > 0 &&
          html`<p class="dim small">It takes ${
            visible(taken.map((one) => one.name).join(", "))
          }.</p>`}
        <p class="err" role="alert">${visible(problem)}</p>
        <div class="buttons"><button type="button" class="btn" onClick=${onClose}>Cancel</button><button class="btn p">Run</button></div></form>
      <//>
  `;
}

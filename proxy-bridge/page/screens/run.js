// @ts-check
// One run: its state, steps, result and log.

import { call, part, send } from "../api.js";
import { html, useEffect, useRef, useState } from "../lib.js";
import { Commit, Copy, ErrorFrame, Failure, Loading, State, Time } from "../parts.js";
import { usePolled } from "../poll.js";
import { go, to } from "../route.js";
import { may } from "../session.js";
import { clock, full, plural, SHOWN, visible } from "../text.js";
import { took } from "./tasks.js";

const ENDS = ["succeeded", "failed", "timed-out", "cancelled", "lost"];
const MAX_LINES = 2000;
const PAGE = 1000;

export function Run({ id }) {
  const { data: run, error, again } = usePolled(`runs/${part(id)}`, 2000);
  const [problem, setProblem] = useState("");
  const head = html`<nav class="crumbs" aria-label="Path"><a href="#/tasks">Tasks and runs</a> / ${
    visible(id.slice(0, 8))
  }</nav>`;
  if (!run) {
    return html`
      ${head}<div class="row">
        <h1 tabindex="-1">Run</h1>
      </div>${error ? html`<${Failure} error=${error} />` : html`<${Loading} />`}
    `;
  }
  const ended = ENDS.includes(run.state);
  const project = run.task.split(":")[0];
  const act = async (what, body) => {
    try {
      const answer = await send("POST", `runs/${part(id)}/${what}`, body);
      setProblem("");
      if (answer?.run && answer.run.id !== id) go(to("runs", answer.run.id));
      again();
    } catch (failed) {
      setProblem(failed.message);
    }
  };
  return html`
    ${head}<div
      class="row"><h1 tabindex="-1">${visible(run.task)}</h1><${State} state=${run
        .state} /><span class="grow"></span>
          ${!ended && may("cancel", project) &&
            html`<button class="btn danger" onClick=${() => act("cancel")}>Cancel</button>`}
          ${ended && may("run", project) &&
            html`<button class="btn" onClick=${() => act("retry", {})}>Run again</button>`}
          ${ended && run.state !== "succeeded" && run.steps.length > 0 && may("run", project) &&
            html`<button class="btn" onClick=${() => act("resume", {})}>Resume</button>`}</div>
        <p class="err" role="alert">${visible(problem)}</p>
        ${run.waits_for && html`<p class="dim">It waits: ${visible(run.waits_for)}</p>`}
        ${run.error && html`
          <div class="banner"><p><b>${visible(run.error.message)}</b> <span class="tag">${visible(
            run.error.reason,
          )}</span></p>${run.error.diagnostic &&
            html`<${ErrorFrame} error=${run.error.diagnostic} />`}</div>
        `}
        <dl class="facts"><div><dt>Task</dt><dd><a href=${to("tasks", run.task)}>${visible(
          run.task,
        )}</a></dd></div>
          <div><dt>Started by</dt><dd>${visible(run.trigger)}${run.by
            ? ` ${visible(run.by)}`
            : ""}${run.scheduled_at ? `, due ${full(run.scheduled_at)}` : ""}</dd></div>
          <div><dt>Started</dt><dd><${Time} at=${run.started_at ??
            run.queued_at} /></dd></div><div><dt>Took</dt><dd>${took(run)}</dd></div>
          <div><dt>Attempt</dt><dd>${run.attempt} of ${run.attempts}</dd></div>
          <div><dt>Version</dt><dd>${run.version
            ? html`
              <${Copy} text=${run.version.name} label="Copy version" />
              <${Commit} commit=${run.version.commit} />
            `
            : "–"}</dd></div>
          <div><dt>Id</dt><dd><${Copy} text=${run.id} shown=${run.id.slice(
            0,
            8,
          )} label="Copy id" /></dd></div>
          ${run.parent && html`
            <div>
              <dt>Part of</dt>
              <dd><a href=${to("runs", run.parent)}>another run</a>${run.step
                ? `, step ${visible(run.step)}`
                : ""}</dd>
            </div>
          `}</dl>
        ${run.steps.length > 0 && html`
          <h2>Steps</h2>
          <ol class="progress">${run.steps.map((step) =>
            html`<li key=${step.name}><${State} state=${step.state} word=${visible(step.name)} />
      ${
              step.run && html`
                <a href=${to("runs", step.run)}>run</a>
              `
            } <span class="dim">${took(step)}</span>${
              step.error && html`
                <span class="err">${visible(step.error.message)}</span>
              `
            }</li>`
          )}</ol>
        `}
        <${Value} title="Parameters" value=${run.params} /><${Value} title="Result"
      value=${run.result} />
        <h2>Log</h2><${RunLog} id=${id} ended=${ended} count=${run.log_lines} />
  `;
}

function Value({ title, value }) {
  const [all, setAll] = useState(false);
  if (value === null || value === undefined) return null;
  const text = JSON.stringify(value, null, 2);
  const cut = !all && text.length > SHOWN;
  return html`<h2>${title}</h2><pre tabindex="0">${
    visible(cut ? text.slice(0, SHOWN) + "…" : text)
  }</pre>
    ${cut && html`<button class="link" onClick=${() => setAll(true)}>Show all</button>`}`;
}

function RunLog({ id, ended, count }) {
  const state = useRef({ lines: [], next: 0, busy: false });
  const [, draw] = useState(0);
  const [error, setError] = useState(undefined);
  useEffect(() => {
    const read = async () => {
      const log = state.current;
      if (log.busy) return;
      log.busy = true;
      try {
        for (;;) {
          const page = await (await call(`runs/${part(id)}/logs?from=${log.next}&lines=${PAGE}`))
            .json();
          log.next = page.next;
          log.lines = [...log.lines, ...page.lines].slice(-MAX_LINES);
          if (page.lines.length < PAGE) break;
        }
        setError(undefined);
      } catch (failed) {
        setError(failed);
      }
      log.busy = false;
      draw((times) => times + 1);
    };
    read();
  }, [id, ended, count]);
  const { lines, next } = state.current;
  if (error) return html`<${Failure} error=${error} />`;
  if (lines.length === 0) return html`<p class="dim">It has printed nothing.</p>`;
  return html`${
    next > lines.length &&
    html`<p class="dim small">The last ${plural(lines.length, "line")} of ${
      next.toLocaleString("en")
    }.</p>`
  }
    <div class="log" tabindex="0" role="log" aria-label="Lines" aria-live="off">${
    lines.map((line) => html`<${Line} key=${`${line.attempt} ${line.n}`} line=${line} />`)
  }</div>`;
}

function Line({ line }) {
  const [all, setAll] = useState(false);
  if (line.skipped > 0) {
    return html`<div class="gap">${plural(line.skipped, "line")} left out</div>`;
  }
  const cut = !all && line.line.length > SHOWN;
  return html`<div class=${`l ${line.stream}`}><time datetime=${line.at} title=${line.at}>${
    clock(line.at)
  }</time>
    <span class="text">${visible(cut ? line.line.slice(0, SHOWN) : line.line)}${
    cut && html`… <button class="link" onClick=${() =>
      setAll(true)}>show all ${line.line.length.toLocaleString("en")} characters</button>`
  }</span></div>`;
}

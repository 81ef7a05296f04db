// @ts-check
// Tasks and pipelines, and the last runs.

import { html } from "../lib.js";
import { Chips, Empty, Failure, Loading, State, Time } from "../parts.js";
import { usePolled } from "../poll.js";
import { route, setQuery, to } from "../route.js";
import { millis, visible } from "../text.js";

const STATES = ["running", "queued", "succeeded", "failed", "timed-out", "cancelled", "lost"];

export function words(trigger) {
  switch (trigger.kind) {
    case "cron":
      return `${trigger.schedules.join(", ")} (${trigger.zone})`;
    case "webhook":
      return `webhook ${trigger.path ?? ""}`;
    case "chain":
      return `after ${trigger.after}`;
    case "file":
      return `file ${trigger.pattern}`;
    default:
      return trigger.kind;
  }
}

export function Tasks() {
  const { query } = route.value;
  const [text, state] = [query.get("q") ?? "", query.get("state") ?? ""];
  const tasks = usePolled("tasks", 5000);
  const runs = usePolled(
    `runs?limit=100${state ? `&state=${encodeURIComponent(state)}` : ""}`,
    3000,
  );
  const has = (task) => task.toLowerCase().includes(text.toLowerCase());
  const list = tasks.data?.tasks.filter((task) => has(task.task));
  const shown = runs.data?.runs.filter((run) => has(run.task));
  return html`
    <h1 tabindex="-1">Tasks and runs</h1><${Failure} error=${tasks.error ?? runs.error} />
        <div
      class="bar-of-filters"><input type="search" aria-label="Search tasks" placeholder="Task ( / )" value=${text} onInput=${(
        event,
      ) => setQuery({ q: event.target.value })} /></div>
        ${!list ? html`<${Loading} />` : list.length === 0
          ? html`
            <${Empty} title="No tasks">
              <p>A project declares them in its <code>deno.json</code>, in a <code>task.yaml</code> or by <code>Deno.cron</code>.</p>
              <//>
          `
          : html`
            <div class="scroll">
              <table>
                <thead>
                  <tr>
                    <th scope="col">Task</th>
                    <th scope="col">Last run</th>
                    <th scope="col">Next</th>
                    <th scope="col" class="wide">Started by</th>
                    <th scope="col" class="wide">What it does</th>
                  </tr>
                </thead>
                <tbody>${list.map((task) =>
                  html`
                    <tr key=${task.task}>
                      <th scope="row"><a class="name" data-row href=${to(
                        "tasks",
                        task.task,
                      )}>${visible(task.task)}</a>${task.is_pipeline && html`
                        <span class="tag">pipeline</span>
                      `}</th>
                      <td>${task.last_run
                        ? html`<a href=${
                          to("runs", task.last_run.id)
                        }><${State} state=${task.last_run.state} /></a>`
                        : html`<span class="dim">never</span>`}</td>
                      <td class="dim">${task.enabled
                        ? html`<${Time} at=${task.next} />`
                        : "off"}</td>
                      <td class="dim wide">${visible(
                        task.triggers.map(words).join(", ") || "hand",
                      )}</td>
                      <td class="dim wide"><span class="cut">${visible(
                        task.description ?? "",
                      )}</span></td>
                    </tr>
                  `
                )}</tbody>
              </table>
            </div>
          `}
        <h2>Runs</h2><${Chips} label="State" current=${state} choose=${(value) =>
          setQuery({ state: value })}
      chips=${[["", "All"], ...STATES.map((name) => [name, name])]} />
        ${shown && html`<${RunTable} runs=${shown} />`}
  `;
}

export function RunTable({ runs }) {
  if (runs.length === 0) return html`<${Empty} title="No runs" />`;
  return html`
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th scope="col">Run</th>
            <th scope="col">State</th>
            <th scope="col">Started</th>
            <th scope="col">Took</th>
            <th scope="col" class="wide">By</th>
            <th scope="col">Error</th>
          </tr>
        </thead>
        <tbody>${runs.map((run) =>
          html`
            <tr key=${run.id}>
              <th scope="row"><a data-row href=${to("runs", run.id)}>${visible(run.task)}</a></th>
              <td>
                <${State} state=${run.state} />
              </td>
              <td class="dim">
                <${Time} at=${run.started_at ?? run.queued_at} />
              </td>
              <td class="dim">${took(run)}</td>
              <td class="dim wide">${visible(run.trigger)}${run.by
                ? ` ${visible(run.by)}`
                : ""}</td>
              <td class="err"><span class="cut">${visible(
                run.error?.message.split("\n")[0] ?? "",
              )}</span></td>
            </tr>
          `
        )}</tbody>
      </table>
    </div>
  `;
}

export function took(run) {
  if (!run.started_at) return "–";
  return millis(
    (run.ended_at ? Date.parse(run.ended_at) : Date.now()) - Date.parse(run.started_at),
  );
}

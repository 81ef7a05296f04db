// @ts-check
// What routers reported, and what it means.

import { html, useState } from "../lib.js";
import {
  Chips,
  Commit,
  Empty,
  ErrorFrame,
  Loading,
  State,
  Time,
  useMore,
  Version,
} from "../parts.js";
import { route, setQuery, to } from "../route.js";
import { events, MAX_EVENTS, useEvents } from "../store.js";
import { changedFiles, clock, full, millis, plural, visible } from "../text.js";

const ROWS = 100;

const LOOKS = {
  "reload.live": "live",
  "reload.failed": "failed",
  "project.removed": "removed",
  "version.retired": "retired",
  "cell.died": "failed",
  "route.conflict": "behind",
  "override.set": "override",
  "override.ended": "override",
};

const CAUSES = {
  scan: "the router read all projects, as at its start",
  watch: "a file of the project changed on the volume",
  poll: "a comparison of its files found a change",
  request: "somebody asked for it, as a deploy does",
  policy: "the operator's policy for it changed",
};

export function Events() {
  useEvents();
  const { query } = route.value;
  const [kind, text] = [query.get("type") ?? "", query.get("q") ?? ""];
  const all = events.value ?? [];
  const kinds = [...new Set([...all.map((event) => event.type), ...kind ? [kind] : []])].sort();
  const wanted = text.toLowerCase();
  const rows = all.filter((event) =>
    (!kind || event.type === kind) && event.data.project.toLowerCase().includes(wanted)
  );
  const { shown, more } = useMore(rows.length, ROWS);
  return html`<h1 tabindex="-1">Events</h1>
    ${
    events.value === undefined ? html`<${Loading} />` : html`
      <div class="bar-of-filters">
            <${Chips} label="Type" current=${kind} choose=${(value) =>
              setQuery({ type: value })} chips=${[
              ["", `All ${all.length}`],
              ...kinds.map((name) => [name, name]),
            ]} />
            <input type="search" aria-label="Search events by project" placeholder="Project ( / )" value=${text} onInput=${(
              event,
            ) => setQuery({ q: event.target.value })} /></div>
          <p class="dim small"
        role="status">${plural(rows.length, "event")}${all.length === MAX_EVENTS
          ? ", older ones are dropped"
          : ""}. A save without an event left the files as they were.</p>
          ${rows.length === 0
            ? html`
              <${Empty} title="No events">
                <p>Save a file of a project, and its reload appears here.</p>
                <//>
            `
            : html`<ol class="events">${
              rows.slice(0, shown).map((event) =>
                html`<${Row} key=${event.data.router + event.data.sequence} event=${event} />`
              )
            }</ol>${more}`}
    `
  }`;
}

function Row({ event: { type, timestamp, data } }) {
  const [open, setOpen] = useState(false);
  return html`<li><span class="dim"><time datetime=${timestamp} title=${full(timestamp)}>${
    clock(timestamp)
  }</time></span>
    <span><${State} state=${LOOKS[type]} word=${type} /></span>
    <span><a class="name" data-row href=${to("projects", data.project)}>${
    visible(data.project)
  }</a> ${data.version && html`<${Version} version=${data.version} />`}</span>
    <span class="dim what">${visible(brief(data))}</span>
    <button class="btn" aria-expanded=${open ? "true" : "false"} aria-label=${`Explain ${type} of ${
    visible(data.project)
  }`} onClick=${() => setOpen(!open)}>Explain</button>
    ${
    open && html`<div class="explained">${
      explain(type, data).map((sentence) => html`<p key=${sentence}>${visible(sentence)}</p>`)
    }
      <${Commit} commit=${data.commit} />${
      data.error && html`<${ErrorFrame} error=${data.error} />`
    }
      <p class="dim small">Router ${
      visible(data.router)
    }, event ${data.sequence}, <${Time} at=${timestamp} /></p></div>`
  }</li>`;
}

function brief(data) {
  if (data.error) return data.error.message.split("\n")[0];
  if (data.death) return data.death.message;
  if (data.conflict) return data.conflict.route;
  if (data.changed) return changedFiles(data.changed);
  return data.folder ?? (data.timings_ms?.total ? `in ${millis(data.timings_ms.total)}` : "");
}

// The event in sentences: why it happened, and what it means for visitors.
function explain(type, data) {
  const sentences = [];
  if (data.trigger) {
    sentences.push(`The project was read because ${CAUSES[data.trigger] ?? data.trigger}.`);
  }
  if (data.changed) {
    const { first, count } = data.changed;
    sentences.push(
      count > 1
        ? `${
          plural(count, "file")
        } differ from the version that was read before, the first by name is ${first}.`
        : `The one file that differs from the version that was read before is ${first}.`,
    );
  }
  const phases = Object.entries(data.timings_ms ?? {}).filter(([name]) => name !== "total").map((
    [name, ms],
  ) => `${name} ${millis(ms)}`);
  if (phases.length > 0) {
    sentences.push(`It took ${millis(data.timings_ms.total)}: ${phases.join(", ")}.`);
  }
  const previous = data.previous
    ? `${data.previous} was live before.`
    : "No version was live before.";
  switch (type) {
    case "reload.live":
      sentences.push(`All new requests go to ${data.version}. ${previous}`);
      break;
    case "reload.failed":
      sentences.push(
        data.previous
          ? `The new version does not build. Visitors still get ${data.previous}.`
          : "The version does not build, and there is none to serve in its place.",
      );
      break;
    case "cell.died": {
      const { message, in_flight: count, restart_ms: again } = data.death;
      sentences.push(
        `A process of ${data.version} ended: ${message}. ${plural(count, "request")} were in it.`,
      );
      sentences.push(
        again === null
          ? "It crashed again and again, so it is stopped until its code or its policy changes."
          : `Another process is started after ${millis(again)}.`,
      );
      break;
    }
    case "route.conflict":
      sentences.push(data.conflict.message);
      break;
    case "version.retired":
      sentences.push(`${data.version} has finished its requests, and its process has ended.`);
      break;
    case "project.removed":
      sentences.push("The folder is gone, or the project was removed through the bridge.");
      break;
    case "override.set":
      sentences.push(`It is read from ${data.folder} in place of the volume.`);
      break;
    case "override.ended":
      sentences.push("It is read from the volume again.");
  }
  return sentences;
}

// @ts-check
// The last requests of a project, and one of them with the lines that belong to it.

import { call, part } from "../api.js";
import { html, useEffect, useRef, useState } from "../lib.js";
import {
  Chips,
  Copy,
  CopyButton,
  Dialog,
  Empty,
  Failure,
  Loading,
  useMore,
  Version,
} from "../parts.js";
import { KEPT, useRequests } from "../requests.js";
import { route, setQuery, to } from "../route.js";
import { readEvents } from "../sse.js";
import { routers } from "../store.js";
import { bytes, full, host, plural, visible } from "../text.js";
import { Lines, Screen } from "./logs.js";
import { CLASSES, classOf, Duration, RequestTable, Status } from "./requesttable.js";

const ROWS = 100;
const PAST = 1000;
// Methods that can be chosen: clients may send any.
const METHODS = 12;

export function Requests({ name }) {
  const { requests, errors, error, lost } = useRequests(name);
  const [frozen, setFrozen] = useState(undefined);
  const { query } = route.value;
  const [status, method, text, id] = ["status", "method", "q", "id"].map((key) =>
    query.get(key) ?? ""
  );
  const all = frozen ?? requests ?? [];
  const wanted = text.toLowerCase();
  const found = all.filter((request) =>
    (!status || classOf(request) === status || String(request.status) === status) &&
    (!method || request.method === method) && request.path.toLowerCase().includes(wanted)
  );
  const { shown, more } = useMore(found.length, ROWS);
  if (error && !requests) return html`<${Failure} error=${error} />`;
  if (!requests) return html`<${Loading} />`;
  const counts = new Map();
  for (const request of all) counts.set(classOf(request), (counts.get(classOf(request)) ?? 0) + 1);
  const methods = new Set([...method ? [method] : [], ...all.map((request) => request.method)]);
  const chips = [["", `All ${all.length}`]];
  for (const one of CLASSES) {
    if (counts.get(one) || one === status) chips.push([one, `${one} ${counts.get(one) ?? 0}`]);
  }
  if (/^\d+$/.test(status)) chips.push([status, status]);
  return html`
    <${Failure} error=${error} />
    ${errors.map((one) =>
      html`<p key=${one.router} class="warning">${visible(host(one.router))}: ${
        visible(
          one.error,
        )
      }</p>`
    )}
    <div class="bar-of-filters">
      <${Chips} label="Status" current=${status} chips=${chips}
        choose=${(value) => setQuery({ status: value })} />
      <select aria-label="Method" value=${method}
        onChange=${(event) => setQuery({ method: event.target.value })}>
        <option value="">All methods</option>
        ${[...methods].slice(0, METHODS).sort().map((one) =>
          html`<option key=${one} value=${one}>${visible(one)}</option>`
        )}
      </select>
      <input type="search" aria-label="Search paths" placeholder="Search paths ( / )" value=${text}
        onInput=${(event) => setQuery({ q: event.target.value })} />
      <button class="btn" aria-pressed=${frozen ? "true" : "false"}
        onClick=${() => setFrozen(frozen ? undefined : all)}>${frozen ? "Follow" : "Pause"}</button>
    </div>
    <p class="dim small" role="status">${plural(found.length, "request")}${all.length >= KEPT
      ? `; each router keeps the last ${KEPT}`
      : ""}${lost > 0 ? `; ${plural(lost, "request")} lost: they came too fast` : ""}${frozen
      ? "; paused"
      : ""}</p>
    ${found.length === 0
      ? html`
        <${Empty} title=${all.length > 0 ? "No request is like that" : "No requests yet"}>
          <p>Requests appear here as they end.</p>
          <//>
      `
      : html`
        <${RequestTable} requests=${found.slice(0, shown)} addressOf=${addressOf} />${more}
        <p class="dim small">Bars: queue, until the answer begins, its body.</p>
      `}
    ${id && html`<${Detail} key=${id} name=${name} id=${id} all=${all} />`}
  `;
}

// The address of a request beside that of the list.
function addressOf(id) {
  const query = new URLSearchParams(route.value.query);
  query.set("id", id);
  return `#${route.value.path}?${query}`;
}

function Detail({ name, id, all }) {
  // The request stays while newer ones take its slot in the list.
  const request = useRef(undefined);
  request.current ??= all.find((one) => one.id === id);
  const close = () => setQuery({ id: "" });
  const lines = `${to("projects", name, "logs")}?request=${part(id)}`;
  const base = routers.value?.find((router) => router.public)?.public;
  return html`
    <${Dialog} title=${`Request ${visible(id)}`} onClose=${close}>
      ${request.current
        ? html`<${Facts} request=${request.current} />`
        : html`<p>It is not among the last requests any more.</p>`}
      <h3>Lines</h3>
      <${RequestLines} name=${name} id=${id} />
      <div class="buttons">
        <a class="btn" href=${lines}>In the log</a>
        ${request.current && base &&
          html`<${CopyButton} text=${curl(base, request.current)}>Copy as curl<//>`}
        <button class="btn" autofocus onClick=${close}>Close</button>
      </div>
      <//>
  `;
}

function Facts({ request }) {
  const note = request.websocket
    ? "It became a WebSocket."
    : request.status === null
    ? "The client left before the answer began."
    : request.cut_off
    ? "The answer was cut off."
    : "";
  const facts = [
    ["Request", html`<code>${visible(`${request.method} ${request.path}`)}</code>`],
    ["Status", html`<${Status} request=${request} />`],
    ["Time", full(request.timestamp)],
    ["Duration", html`<${Duration} request=${request} />`],
    ["Answer", bytes(request.bytes)],
    ["Version", html`<${Version} version=${request.version} />`],
    ["Router", visible(host(request.router))],
    ["Client", visible(request.client)],
    ["Id", html`<${Copy} text=${request.id} label="Copy id" />`],
  ];
  return html`
    ${note && html`<p class="warning">${note}</p>`}
    <dl class="facts">${facts.map(([title, value]) =>
      html`
        <div key=${title}>
          <dt>${title}</dt>
          <dd>${value}</dd>
        </div>
      `
    )}</dl>
  `;
}

// The lines that the project printed for a request, as far as they are kept.
function RequestLines({ name, id }) {
  const [answer, setAnswer] = useState(/** @type {{lines?: any[], error?: any}} */ ({}));
  useEffect(() => {
    const abort = new AbortController();
    const lines = new Lines();
    const read = async () => {
      const path = `projects/${part(name)}/logs?lines=${PAST}`;
      await readEvents(await call(path, { signal: abort.signal }), (kind, line) => {
        if (kind === "line" && line.request === id) lines.add(line);
      });
      setAnswer({ lines: lines.all });
    };
    read().catch((error) => {
      if (!abort.signal.aborted) setAnswer({ error });
    });
    return () => abort.abort();
  }, [name, id]);
  if (answer.error) return html`<${Failure} error=${answer.error} />`;
  if (!answer.lines) return html`<${Loading} />`;
  if (answer.lines.length === 0) return html`<p class="dim">None are kept.</p>`;
  return html`<${Screen} lines=${answer.lines} />`;
}

// The command that asks the same. A query, headers and a body are not recorded.
export function curl(base, { method, path }) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const url = base + path.replace(/[^!-~]/gu, encodeURIComponent);
  const verb = method === "GET"
    ? ""
    : method === "HEAD"
    ? "--head "
    : `--request ${quoted(method)} `;
  return `curl --include ${verb}${quoted(url)}`;
}

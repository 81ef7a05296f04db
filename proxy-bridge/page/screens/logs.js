// @ts-check
// The lines of a project: those of the past, and new ones as they are printed.

import { call, part } from "../api.js";
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../lib.js";
import { Chips, Empty, Failure } from "../parts.js";
import { route, setQuery } from "../route.js";
import { readEvents } from "../sse.js";
import { follow } from "../stream.js";
import { Icon } from "../icons.js";
import { clock, plural, short, SHOWN, visible } from "../text.js";

// Lines in memory and their characters, and lines that are drawn: the newest of each.
export const MAX_LINES = 5000;
const MAX_CHARACTERS = 16 * 1024 * 1024;
const DRAWN = 500;
const PAST = 1000;

// Lines in their order, each once: a router sends those of the past again.
export class Lines {
  constructor() {
    this.all = /** @type {any[]} */ ([]);
    this.known = new Set();
    this.dropped = 0;
    this.characters = 0;
  }

  add(line) {
    const id = line.lost !== undefined ? undefined : idOf(line);
    if (id !== undefined) {
      if (this.known.has(id)) return;
      this.known.add(id);
    }
    line.id = id;
    let at = this.all.length;
    while (at > 0 && line.timestamp && this.all[at - 1].timestamp > line.timestamp) at -= 1;
    this.all.splice(at, 0, line);
    this.characters += line.line?.length ?? 0;
    while (this.all.length > MAX_LINES || this.characters > MAX_CHARACTERS) {
      const oldest = this.all.shift();
      this.known.delete(oldest.id);
      this.characters -= oldest.line?.length ?? 0;
      this.dropped += 1;
    }
  }
}

// Two lines of one process at one instant are told apart by their beginnings.
function idOf({ router, pid, stream, timestamp, line }) {
  return [router, pid, stream, timestamp, line.length, line.slice(0, 40)].join(" ");
}

export function Logs({ name }) {
  const lines = useRef(undefined);
  lines.current ??= new Lines();
  const [, draw] = useState(0);
  const [paused, setPaused] = useState(false);
  const [failure, setFailure] = useState(undefined);
  const { query } = route.value;
  const [stream, text, request, version] = ["stream", "q", "request", "version"].map((key) =>
    query.get(key) ?? ""
  );
  useEffect(() => {
    let due = 0;
    // Many lines a second are drawn together.
    const soon = () =>
      due ||= setTimeout(() => {
        due = 0;
        draw((count) => count + 1);
      }, 100);
    const take = (kind, data) => {
      if (kind === "line") lines.current.add(data);
      else if (kind === "gap") lines.current.add({ lost: data.lost, router: data.router });
      soon();
    };
    const past = async () => {
      try {
        const response = await call(`projects/${part(name)}/logs?lines=${PAST}`);
        await readEvents(response, take);
        setFailure(undefined);
      } catch (error) {
        setFailure(error);
      }
      soon();
    };
    const stop = follow(`logs:${name}`, take, past);
    return () => {
      stop();
      clearTimeout(due);
    };
  }, [name]);
  const { wanted, wrong } = useMemo(() => matcher(text), [text]);
  const shown = lines.current.all.filter((line) =>
    line.lost !== undefined ||
    (!stream || line.stream === stream) && (!request || line.request === request) &&
      (!version || line.version === version) &&
      wanted(line.line)
  );
  const [frozen, setFrozen] = useState(undefined);
  const pause = () => {
    setFrozen(paused ? undefined : shown);
    setPaused(!paused);
  };
  const drawn = (frozen ?? shown).slice(-DRAWN);
  return html`${failure && html`<${Failure} error=${failure} />`}
    <div class="bar-of-filters"><${Chips} label="Stream" current=${stream} choose=${(value) =>
    setQuery({ stream: value })}
      chips=${[["", "All"], ["stdout", "stdout"], ["stderr", "stderr"]]} />
      ${
    request && html`<button class="chip" aria-pressed="true" onClick=${() =>
      setQuery({ request: "" })}>request ${visible(request.slice(0, 8))} ✕</button>`
  }
      ${
    version && html`<button class="chip" aria-pressed="true" onClick=${() =>
      setQuery({ version: "" })}>${visible(short(version))} ✕</button>`
  }
      <input type="search" aria-label="Search lines" placeholder="Text or /regex/ ( / )" value=${text} onInput=${(
    event,
  ) => setQuery({ q: event.target.value })} />
      <button class="btn" aria-pressed=${paused ? "true" : "false"} onClick=${pause}>${
    paused ? "Follow" : "Pause"
  }</button>
      <button class="btn" onClick=${() => download(name, shown)}>Download</button></div>
    ${wrong && html`<p class="err" role="alert">${visible(wrong)}</p>`}
    <p class="dim small" role="status">${plural(shown.length, "line")}${
    shown.length > drawn.length ? `, the last ${drawn.length} are shown` : ""
  }${lines.current.dropped > 0 ? `; ${plural(lines.current.dropped, "older line")} dropped` : ""}${
    paused ? "; paused" : ""
  }</p>
    ${
    drawn.length === 0
      ? html`
        <${Empty} title="Nothing was printed yet">
          <p>Lines of <code>console.log</code> appear here as they are printed.</p>
          <//>
      `
      : html`<${Screen} lines=${drawn} find=${(request) => setQuery({ request })} />`
  }`;
}

// Returns a test for lines: for a text, or for a regular expression between slashes.
function matcher(text) {
  const expression = /^\/(.+)\/$/.exec(text)?.[1];
  if (!expression) {
    const part = text.toLowerCase();
    return { wanted: (line) => line.toLowerCase().includes(part) };
  }
  try {
    const found = new RegExp(expression, "i");
    return { wanted: (line) => found.test(line) };
  } catch (error) {
    return { wanted: () => true, wrong: error.message };
  }
}

// The lines. At its end it follows, as a terminal does. `find` shows those of one request.
export function Screen({ lines, find = undefined }) {
  const box = useRef();
  const atEnd = useRef(true);
  useLayoutEffect(() => {
    if (atEnd.current) box.current.scrollTop = box.current.scrollHeight;
  });
  const onScroll = () => {
    const { scrollTop, scrollHeight, clientHeight } = box.current;
    atEnd.current = scrollHeight - scrollTop - clientHeight < 40;
  };
  return html`
    <div class="log" ref=${box} onScroll=${onScroll} tabindex="0" role="log" aria-label="Lines"
      aria-live="off">${lines.map((line, index) =>
        html`<${Line} key=${line.id ?? `gap ${index}`} line=${line} find=${find} />`
      )}</div>
  `;
}

function Line({ line, find }) {
  const [all, setAll] = useState(false);
  if (line.lost !== undefined) {
    return html`<div class="gap">${plural(line.lost, "line")} lost: they came too fast</div>`;
  }
  const cut = !all && line.line.length > SHOWN;
  return html`<div class=${`l ${line.stream}`}><time datetime=${line.timestamp} title=${line.timestamp}>${
    clock(line.timestamp)
  }</time>
    <span class="text">${visible(cut ? line.line.slice(0, SHOWN) : line.line)}${
    cut && html`… <button class="link" onClick=${() =>
      setAll(true)}>show all ${line.line.length.toLocaleString("en")} characters</button>`
  }</span>
    ${
    find && line.request && html`
      <button class="icon" aria-label="Lines of this request" title=${visible(line.request)}
        onClick=${() => find(line.request)}><${Icon} name="find" /></button>
    `
  }</div>`;
}

// What is filtered, as text with whole times.
function download(name, lines) {
  const text = lines.map((line) =>
    line.lost !== undefined
      ? `-- ${line.lost} lines lost`
      : `${line.timestamp} ${line.version} ${line.stream} ${visible(line.line)}`
  );
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text.join("\n") + "\n"], { type: "text/plain" }));
  link.download = `${name}.log`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

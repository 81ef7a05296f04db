// @ts-check
// Small parts that every screen is made of.

import { html, signal, useEffect, useRef, useState } from "./lib.js";
import { Icon } from "./icons.js";
import { ago, full, short, visible } from "./text.js";

// Wakes up once in a while, so that "3 min ago" stays true.
const now = signal(Date.now());
setInterval(() => {
  if (!document.hidden) now.value = Date.now();
}, 10_000);

const LOOKS = {
  live: "ok",
  ready: "ok",
  succeeded: "ok",
  done: "ok",
  unchanged: "ok",
  building: "build",
  running: "build",
  starting: "build",
  queued: "build",
  fetching: "build",
  reading: "build",
  deploying: "build",
  stale: "warn",
  skew: "warn",
  behind: "warn",
  superseded: "warn",
  blocked: "warn",
  frozen: "warn",
  "timed-out": "bad",
  failed: "bad",
  invalid: "bad",
  stopped: "bad",
  refused: "bad",
  unreachable: "bad",
  away: "bad",
  lost: "bad",
  "2xx": "ok",
  "4xx": "warn",
  "5xx": "bad",
};

// A state as a dot and a word: never by colour alone.
export function State({ state, word = state }) {
  return html`<span class="state"><i class=${`dot ${LOOKS[state] ?? "idle"}`}></i>${word}</span>`;
}

// A time, with the whole one on hover.
export function Time({ at }) {
  if (!at) return html`<span class="dim">–</span>`;
  return html`<time datetime=${at} title=${full(at)}>${ago(at, now.value)}</time>`;
}

// Text that can be copied. `shown` is shorter.
export function Copy({ text, shown = text, label = "Copy" }) {
  const [done, setDone] = useState(false);
  const copy = async (event) => {
    event.preventDefault();
    event.stopPropagation();
    setDone(await toClipboard(text));
    setTimeout(() => setDone(false), 1500);
  };
  return html`<span class="copy"><span class="v">${visible(shown)}</span><button class="icon"
    aria-label=${`${label} ${visible(shown)}`} title=${done ? "Copied" : label}
    onClick=${copy}><${Icon} name=${
    done ? "done" : "copy"
  } /></button><span class="sr" role="status">${done ? "Copied" : ""}</span></span>`;
}

// A button that copies a text.
export function CopyButton({ text, children }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    setDone(await toClipboard(text));
    setTimeout(() => setDone(false), 1500);
  };
  return html`
    <button class="btn" onClick=${copy}>${done ? "Copied" : children}</button><span class="sr"
      role="status">${done ? "Copied" : ""}</span>
  `;
}

// Without HTTPS there is no clipboard for pages, but the old command still works.
async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    // Behind an open dialog nothing can be selected.
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

export function Version({ version }) {
  if (!version) return html`<span class="dim">–</span>`;
  return html`<${Copy} text=${version} shown=${short(version)} label="Copy version" />`;
}

// The commit of a version.
export function Commit({ commit }) {
  if (!commit) return null;
  const ref = commit.ref?.replace(/^refs\/(heads|tags)\//, "");
  const shown = [ref, commit.commit.slice(0, 7)].filter(Boolean).join(" ");
  return html`<span class="tag"><${Copy} text=${commit.commit} shown=${shown} label="Copy commit" /></span>`;
}

// An error of a project: message, place, and the lines around it.
export function ErrorFrame({ error }) {
  const place = error.file && [error.file, error.line, error.column].filter(Boolean).join(":");
  const lines = visible(error.frame ?? "").split("\n").filter(Boolean);
  const message = (place ? "\n" : "") + visible(error.message) + (lines.length > 0 ? "\n\n" : "");
  return html`
    <div class="frame">
      <pre tabindex="0">${place && html`<b>${visible(place)}</b>`}${message}${lines.map((line) =>
        line.startsWith(">") ? html`<mark>${line}</mark>` : html`<span class="line">${line}</span>`
      )}</pre>
      ${place && html`<${Copy} text=${place} label="Copy place" />`}
    </div>
  `;
}

// A failed call, in words.
export function Failure({ error }) {
  if (!error) return null;
  return html`
    <div class="banner" role="alert">
      <p><b>${visible(error.message)}</b></p>
    </div>
  `;
}

export function Empty({ title, children }) {
  return html`<div class="empty"><p><b>${title}</b></p>${children}</div>`;
}

export function Loading() {
  return html`<p class="dim" role="status">Loading…</p>`;
}

// A dialog. Its first control has the focus, and what had it before gets it back.
export function Dialog({ title, onClose, children }) {
  const ref = useRef();
  useEffect(() => {
    const before = /** @type {HTMLElement} */ (document.activeElement);
    const dialog = ref.current;
    dialog.showModal();
    return () => {
      // What is behind an open dialog cannot have the focus.
      dialog.close();
      if (before?.isConnected) before.focus();
    };
  }, []);
  const outside = (event) => event.target === ref.current && onClose();
  return html`
    <dialog ref=${ref} aria-labelledby="dialog-title" onClose=${onClose}
      onClick=${outside}>
      <div class="sheet"><h2 id="dialog-title">${title}</h2>${children}</div>
    </dialog>
  `;
}

// Links that change one part of a screen.
export function Tabs({ label, tabs, current }) {
  return html`<nav class="tabs" aria-label=${label}>${
    tabs.map(([name, title, href]) =>
      html`<a key=${name} href=${href} aria-current=${
        name === current ? "page" : null
      }>${title}</a>`
    )
  }</nav>`;
}

// Buttons of which one is chosen.
export function Chips({ label, chips, current, choose }) {
  return html`<div class="chips" role="group" aria-label=${label}>${
    chips.map(([value, text]) =>
      html`
        <button key=${value} class="chip" aria-pressed=${value === current ? "true" : "false"}
          onClick=${() => choose(value)}>${text}</button>
      `
    )
  }</div>`;
}

// The first rows of a long list, and more of them as one scrolls down.
export function useMore(total, step) {
  const [shown, setShown] = useState(step);
  const end = useRef();
  useEffect(() => {
    if (!end.current) return;
    const observer = new IntersectionObserver(([entry]) => {
      if (entry.isIntersecting) setShown((count) => count + step);
    }, { rootMargin: "600px" });
    observer.observe(end.current);
    return () => observer.disconnect();
  }, [shown < total]);
  return { shown, more: shown < total && html`<div ref=${end} class="dim more">…</div>` };
}

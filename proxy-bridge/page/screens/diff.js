// @ts-check
// The files in which two versions differ.

import { part } from "../api.js";
import { html, useState } from "../lib.js";
import { Failure, Loading } from "../parts.js";
import { usePolled } from "../poll.js";
import { bytes, plural, visible } from "../text.js";

// Files that are unfolded at once, and lines of a file that are shown.
const OPEN = 6;
const LINES = 300;

export function Diff({ name, from, to }) {
  const { data, error } = usePolled(`projects/${part(name)}/diff?from=${from}&to=${to}`, 0);
  // Always as high: a button below must not move away from under the pointer.
  return html`
    <div class="diff" tabindex="0" role="region" aria-label="Differences">
      <${Failure} error=${error} />
      ${data ? html`<${Files} data=${data} />` : !error && html`<${Loading} />`}
    </div>
  `;
}

function Files({ data: { files, truncated } }) {
  if (files.length === 0) return html`<p class="dim">The files are the same.</p>`;
  return html`
    <p class="dim small">${plural(files.length, "file")}${truncated
      ? " and more"
      : ""} ${files.length === 1 ? "differs" : "differ"}</p>
    ${files.map((file, index) =>
      html`<${File} key=${file.path} file=${file} open=${index < OPEN} />`
    )}
  `;
}

function File({ file, open }) {
  const [all, setAll] = useState(false);
  const lines = file.diff?.split("\n") ?? [];
  const shown = all ? lines : lines.slice(0, LINES);
  const size = [file.before, file.after].filter((count) => count !== null).map(bytes).join(" → ");
  return html`
    <details open=${open}>
      <summary><code>${visible(file.path)}</code> <span class="dim">${file
        .change}, ${size}</span></summary>
      ${file.diff === null
        ? html`<p class="dim small">Large, or not text.</p>`
        : html`<pre tabindex="0">${
          shown.map((line) =>
            html`<span class=${`line ${kind(line)}`}>${visible(line) || " "}</span>`
          )
        }</pre>`}
      ${lines.length > shown.length &&
        html`<button class="link" type="button" onClick=${() =>
          setAll(true)}>Show all ${lines.length} lines</button>`}
    </details>
  `;
}

function kind(line) {
  if (line.startsWith("+")) return "added";
  if (line.startsWith("-")) return "removed";
  return line.startsWith("@@") ? "dim" : "";
}

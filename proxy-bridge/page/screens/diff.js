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
  if (error) return html`<${Failure} error=${error} />`;
  if (!data) return html`<${Loading} />`;
  if (data.files.length === 0) return html`<p class="dim">The files are the same.</p>`;
  const rest = data.truncated ? " and more" : "";
  return html`
    <p class="dim small">${plural(data.files.length, "file")}${rest} differ</p>
    <div class="diff">${data.files.map((file, index) =>
      html`<${File} key=${file.path} file=${file} open=${index < OPEN} />`
    )}</div>
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

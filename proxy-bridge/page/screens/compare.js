// @ts-check
// The comparison of two versions, which its address names.

import { html } from "../lib.js";
import { Dialog } from "../parts.js";
import { ago, short, visible } from "../text.js";
import { Diff } from "./diff.js";

export function Compare({ name, versions, from, to, choose, onClose }) {
  return html`
    <${Dialog} title=${`Compare versions of ${visible(name)}`} onClose=${onClose}>
      <div class="versus">
        <${Side} id="from" title="From" versions=${versions} version=${from}
          choose=${(version) => choose(version, to)} />
        <${Side} id="to" title="To" versions=${versions} version=${to}
          choose=${(version) => choose(from, version)} />
      </div>
      ${from === to
        ? html`<p class="dim">This is one version: choose another one.</p>`
        : html`<${Diff} key=${`${from} ${to}`} name=${name} from=${from} to=${to} />`}
      <div class="buttons"><button class="btn" autofocus onClick=${onClose}>Close</button></div>
      <//>
  `;
}

function Side({ id, title, versions, version, choose }) {
  const known = versions.some((one) => short(one.version) === version);
  return html`
    <div>
      <label for=${id}>${title}</label>
      <select id=${id} value=${version} onChange=${(event) => choose(event.target.value)}>
        ${!known && html`<option value=${version}>${visible(version)}</option>`}
        ${versions.map((one) =>
          html`
            <option key=${one.version + one.incarnation} value=${short(one.version)}>${words(
              one,
            )}</option>
          `
        )}
      </select>
    </div>
  `;
}

// A version as one line of a menu.
function words(version) {
  const state = version.live.length > 0 ? "live" : ago(version.at);
  return visible([short(version.version), state, version.message].filter(Boolean).join(", "));
}

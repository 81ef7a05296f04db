// @ts-check
// The dialog before a rollback, and its progress.

import { html, useState } from "../lib.js";
import { call, part } from "../api.js";
import { Commit, Dialog, ErrorFrame, Time } from "../parts.js";
import { readEvents } from "../sse.js";
import { bytes, plural, short, visible } from "../text.js";
import { Diff } from "./diff.js";
import { Progress } from "./progress.js";

export function Rollback({ name, from, to, onClose }) {
  const [steps, setSteps] = useState(/** @type {any[] | undefined} */ (undefined));
  const [answer, setAnswer] = useState(/** @type {any} */ (undefined));
  const [message, setMessage] = useState("");
  // A version that the bridge did not deploy has no whole digest here.
  const digits = ({ digest, version }) => digest ?? short(version);
  const begin = async () => {
    setSteps([]);
    try {
      const note = message ? `&message=${part(message)}` : "";
      const path = `projects/${part(name)}/rollback?to=${part(digits(to))}${note}`;
      const headers = {
        accept: "text/event-stream",
        "idempotency-key": crypto.randomUUID?.() ?? String(Math.random()),
      };
      const response = await call(path, { method: "POST", headers });
      await readEvents(response, (kind, data) => {
        if (kind === "phase") setSteps((known) => [...known, data]);
        else if (kind === "done") setAnswer(data);
      });
    } catch (error) {
      setAnswer({ status: error.status || 500, body: { ...error.problem, detail: error.message } });
    }
  };
  const close = () => onClose(answer !== undefined);
  const done = answer?.status === 200;
  return html`<${Dialog} title=${`Roll back ${visible(name)}`} onClose=${close}>
    <div class="versus"><${Side} title="Visitors get now" version=${from} /><${Side} title="They will get" version=${to} /></div>
    ${
    steps === undefined &&
    html`
      <p class="dim">Every router builds it first. Nothing changes if one of them cannot.
            What is live now stays in the list, so that you can come back to it.</p>
            ${from && html`<${Diff} name=${name} from=${digits(from)} to=${digits(to)} />`}
            <label for="why">Message</label><input id="why" maxlength="500" placeholder="Why"
        value=${message} onInput=${(event) => setMessage(event.target.value)} />
    `
  }
    ${steps && html`<${Progress} steps=${steps} answer=${answer} />`}
    ${
    answer && !done &&
    html`<p class="err" role="alert">${visible(answer.body?.detail ?? "It failed.")}</p>
      ${answer.body?.frame && html`<${ErrorFrame} error=${answer.body} />`}`
  }
    <div class="buttons"><button class="btn" autofocus onClick=${close}>${
    answer ? "Close" : steps ? "Hide" : "Cancel"
  }</button>
      ${
    steps === undefined && html`<button class="btn p" onClick=${begin}>Roll back</button>`
  }</div>
  <//>`;
}

function Side({ title, version }) {
  return html`<dl class="facts"><div><dt>${title}</dt><dd class="v">${
    visible(version?.version ?? "nothing")
  }</dd></div>
    ${
    version && html`
      <div>
        <dt>Deployed</dt>
        <dd><${Time} at=${version.at} />${version.by && ` by ${visible(version.by)}`}</dd>
      </div>
            ${version.message && html`
              <div>
                <dt>Message</dt>
                <dd>${visible(version.message)}</dd>
              </div>
            `}
            ${version.commit && html`
              <div>
                <dt>Commit</dt>
                <dd>
                  <${Commit} commit=${version.commit} />
                </dd>
              </div>
            `}
            ${version.files !== null && html`
              <div>
                <dt>Files</dt>
                <dd>${plural(version.files, "file")}, ${bytes(version.bytes)}</dd>
              </div>
            `}
    `
  }</dl>`;
}

// @ts-check
// The lock of a project, which keeps everyone from changing it.

import { part, send } from "../api.js";
import { html, useState } from "../lib.js";
import { Failure, Time } from "../parts.js";
import { usePolled } from "../poll.js";
import { may } from "../session.js";
import { visible } from "../text.js";

export function Lock({ name }) {
  const { data, error, again } = usePolled("locks", 0);
  const [reason, setReason] = useState("");
  const [problem, setProblem] = useState(undefined);
  const lock = data?.locks.find((one) => one.project === name);
  const change = async (method, query = "") => {
    try {
      await send(method, `projects/${part(name)}/lock${query}`);
      setProblem(undefined);
    } catch (failed) {
      setProblem(failed);
    }
    again();
  };
  const lockIt = (event) => {
    event.preventDefault();
    change("PUT", reason ? `?reason=${part(reason)}` : "");
  };
  const allowed = may("publish", name);
  return html`
    <h3>Lock</h3>
    <${Failure} error=${problem ?? error} />
    ${lock
      ? html`<p>Locked <${Time} at=${lock.at} />${lock.by && ` by ${visible(lock.by)}`}${
        lock.reason && `: ${visible(lock.reason)}`
      }</p>${
        allowed &&
        html`<p><button class="btn" onClick=${() => change("DELETE")}>Unlock</button></p>`
      }`
      : allowed && html`<form class="inline" onSubmit=${lockIt}>
        <input aria-label="Reason" placeholder="Reason" maxlength="500" value=${reason}
          onInput=${(event) => setReason(event.target.value)} />
        <button class="btn">Lock</button></form>`}
  `;
}

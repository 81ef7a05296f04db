// @ts-check
// The lock of a project, which keeps everyone from changing it.

import { part, send } from "../api.js";
import { html, useMemo, useState } from "../lib.js";
import { Dialog, Failure, Time } from "../parts.js";
import { usePolled } from "../poll.js";
import { may } from "../session.js";
import { visible } from "../text.js";

// The stream does not have locks.
const EVERY = 10_000;

// Returns the locks by project, and what asks for them at once.
export function useLocks() {
  const { data, again } = usePolled("locks", EVERY);
  const locks = useMemo(() => new Map(data?.locks.map((lock) => [lock.project, lock])), [data]);
  return { locks, again };
}

// Names the person who locked a project, and the reason.
export function wordsOf({ by, reason }) {
  return visible(`Locked${by ? ` by ${by}` : ""}${reason ? `: ${reason}` : ""}`);
}

export function LockBanner({ name, lock, again }) {
  const [problem, setProblem] = useState(undefined);
  const unlock = async () => {
    try {
      await send("DELETE", `projects/${part(name)}/lock`);
      setProblem(undefined);
    } catch (error) {
      setProblem(error);
    }
    again();
  };
  if (!lock) return null;
  return html`
    <${Failure} error=${problem} />
    <div class="banner warn row">
      <p class="grow"><b>${wordsOf(lock)}</b> <span class="dim"><${Time} at=${lock
        .at} />. Deploys, rollbacks and removal are
        refused.</span></p>
      ${may("publish", name) && html`<button class="btn" onClick=${unlock}>Unlock</button>`}
    </div>
  `;
}

export function LockButton({ name, again }) {
  const [open, setOpen] = useState(false);
  const [reason, setReason] = useState("");
  const [problem, setProblem] = useState("");
  const close = () => setOpen(false);
  const lock = async (event) => {
    event.preventDefault();
    try {
      const query = reason ? `?reason=${part(reason)}` : "";
      await send("PUT", `projects/${part(name)}/lock${query}`);
      setProblem("");
      close();
      again();
    } catch (error) {
      setProblem(error.message);
    }
  };
  return html`<button class="btn" onClick=${() => setOpen(true)}>Lock…</button>${
    open && html`
      <${Dialog} title=${`Lock ${visible(name)}`} onClose=${close}>
        <p>Nobody can deploy it, roll it back or remove it until it is unlocked, and git sources leave it
          as it is.</p>
        <form onSubmit=${lock}>
          <label for="reason">Reason</label>
          <input id="reason" maxlength="500" placeholder="Shown to those who are refused" autofocus
            value=${reason} onInput=${(event) => setReason(event.target.value)} />
          <p class="err" role="alert">${visible(problem)}</p>
          <div class="buttons"><button type="button" class="btn" onClick=${close}>Cancel</button>
            <button class="btn p">Lock</button></div>
        </form>
        <//>
    `
  }`;
}

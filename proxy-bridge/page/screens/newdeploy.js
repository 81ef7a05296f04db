// @ts-check
// A deploy by drag and drop, or by choosing a folder or an archive.

import { call, part } from "../api.js";
import { html, useRef, useState } from "../lib.js";
import { Empty, ErrorFrame } from "../parts.js";
import { route, to } from "../route.js";
import { may } from "../session.js";
import { readEvents } from "../sse.js";
import { bytes, plural, visible } from "../text.js";
import { chosen, dropped, projectName, request } from "../upload.js";
import { Progress } from "./progress.js";

const LISTED = 200;

export function NewDeploy() {
  const wanted = route.value.query.get("project") ?? "";
  const [name, setName] = useState(wanted);
  const [message, setMessage] = useState("");
  const [upload, setUpload] = useState(
    /** @type {import("../upload.js").Chosen | undefined} */ (undefined),
  );
  const [over, setOver] = useState(false);
  const [problem, setProblem] = useState("");
  const [steps, setSteps] = useState(/** @type {any[] | undefined} */ (undefined));
  const [answer, setAnswer] = useState(/** @type {any} */ (undefined));
  if (!may("deploy")) {
    return html`
      <h1 tabindex="-1">New deploy</h1>
      <${Empty} title="This token allows no deploys" />
    `;
  }
  const take = (found) => {
    setUpload(found);
    setSteps(undefined);
    setAnswer(undefined);
    setProblem(found.files.length === 0 && !found.archive ? "There is no file in it." : "");
    setName((known) => known || projectName(found.name));
  };
  const drop = async (event) => {
    event.preventDefault();
    setOver(false);
    try {
      take(await dropped(event.dataTransfer));
    } catch (error) {
      setProblem(`It cannot be read: ${error.message}`);
    }
  };
  const begin = async (event) => {
    event.preventDefault();
    setSteps([]);
    setAnswer(undefined);
    try {
      const { body, headers } = request(upload, message);
      const response = await call(`deploy/${part(name)}`, {
        method: "POST",
        body,
        headers: { ...headers, accept: "text/event-stream" },
      });
      await readEvents(response, (kind, data) => {
        if (kind === "phase") setSteps((known) => [...known, data]);
        else if (kind === "done") setAnswer(data);
      });
    } catch (error) {
      setAnswer({ status: error.status || 500, body: { ...error.problem, detail: error.message } });
    }
  };
  const ready = upload && (upload.files.length > 0 || upload.archive);
  const running = steps && !answer;
  return html`
    <nav class="crumbs" aria-label="Path"><a href="#/deploys">Deploys</a> / New</nav>
        <h1 tabindex="-1">New deploy</h1>
        <div class=${over ? "drop over" : "drop"} onDragOver=${(event) => {
          event.preventDefault();
          setOver(true);
        }} onDragLeave=${() => setOver(false)} onDrop=${drop}>
      <p><b>Drop a folder or an archive here</b></p>
      <p class="dim">A folder is one project. Archives: .zip, .tar, .tar.gz, .tar.zst.</p>
      <p>
        <${Choose} folder label="Choose a folder…" take=${take} />
        <${Choose} label="Choose an archive…" take=${take} />
      </p>
    </div>
        <p class="err" role="alert">${visible(problem)}</p>
        ${ready && html`<form onSubmit=${begin}>
      <${Content} upload=${upload} />
      <label for="project">Project</label>
      <input id="project" required spellcheck="false" pattern="[A-Za-z0-9][A-Za-z0-9_\\-]{0,62}" value=${name} onInput=${(
          event,
        ) => setName(event.target.value)} />
      ${
          upload.files.length > 0 && html`
            <label for="message">Message</label>
            <input id="message" maxlength="500" placeholder="What changes, in a few words" value=${message}
              onInput=${(event) => setMessage(event.target.value)} />
          `
        }
      <div class="buttons"><button class="btn p" disabled=${running}>${
          running ? "Deploying…" : `Deploy ${name}`
        }</button></div>
    </form>`}
        ${steps && html`
          <h2>Progress</h2>
          <${Progress} steps=${steps} answer=${answer} />
        `}
        ${answer && html`<${End} name=${name} answer=${answer} />`}
  `;
}

function Choose({ folder, label, take }) {
  const input = useRef();
  return html`
    <button type="button" class="btn" onClick=${() => input.current.click()}>${label}</button><input
      ref=${input} type="file" hidden aria-hidden="true" tabindex="-1" webkitdirectory=${folder}
      multiple=${folder}
      onChange=${(event) => take(chosen([...event.target.files]))} />
  `;
}

function Content({ upload: { files, left, archive } }) {
  const size = files.reduce((all, { file }) => all + file.size, 0);
  if (archive) {
    return html`<p><b>${visible(archive.name)}</b> <span class="dim">${
      bytes(archive.size)
    }</span></p>`;
  }
  return html`
    <details open=${files.length <= 12}>
      <summary>${plural(files.length, "file")}, ${bytes(size)}</summary>
      <ul class="files">${files.slice(0, LISTED).map(({ path, file }) =>
        html`<li key=${path}><code>${visible(path)}</code> <span class="dim">${
          bytes(file.size)
        }</span></li>`
      )}
        ${files.length > LISTED &&
          html`<li class="dim">and ${files.length - LISTED} more</li>`}</ul>
    </details>
        ${left.length > 0 &&
          html`<p class="dim">Left out: ${visible(left.slice(0, 12).join(", "))}</p>`}
        ${files.some(({ path }) => path === ".gitignore") &&
          html`<p class="warning">The .gitignore is not read here: what it names
      is sent too. <code>switchyard deploy</code> reads it.</p>`}
  `;
}

function End({ name, answer: { status, body } }) {
  if (status === 200) {
    return html`<p role="status"><b>${visible(name)} is live.</b> <a href=${
      to("projects", name)
    }>Show it</a></p>`;
  }
  const failed = body?.routers?.flatMap?.((router) => router.reports).find((report) =>
    report?.error
  );
  return html`<div class="banner" role="alert"><p><b>${visible(body?.detail ?? "It failed.")}</b>
    <span class="dim"> Nothing has changed.</span></p>${
    failed && html`<${ErrorFrame} error=${failed.error} />`
  }</div>`;
}

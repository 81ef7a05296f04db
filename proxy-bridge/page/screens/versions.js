// @ts-check
// The versions of a project, and the way back to one.

import { html, useState } from "../lib.js";
import { Commit, Empty, Failure, Loading, State, Time, Version } from "../parts.js";
import { usePolled } from "../poll.js";
import { part } from "../api.js";
import { route, setQuery } from "../route.js";
import { may } from "../session.js";
import { deploys, useDeploys } from "../store.js";
import { bytes, changedFiles, plural, short, visible } from "../text.js";
import { Compare } from "./compare.js";
import { Phases } from "./phases.js";
import { Rollback } from "./rollback.js";

export const DEPLOY_PHASES = ["receive", "store", "hold", "build", "publish"];

export function Versions({ name, project }) {
  useDeploys();
  const [target, setTarget] = useState(undefined);
  // The list is another one whenever another version is live, or was tried.
  const mark = project.routers.map((at) => `${at.live?.digest} ${at.on_disk?.digest} ${at.state}`)
    .join();
  const { data, error, again } = usePolled(`projects/${part(name)}/versions`, 0, [mark]);
  if (error) return html`<${Failure} error=${error} />`;
  if (!data) return html`<${Loading} />`;
  if (data.versions.length === 0) return html`<${Empty} title="No version is kept" />`;
  const live = data.versions.find((version) => version.live.length > 0);
  const allowed = may("rollback", name);
  const broken = project.routers.filter((at) => at.error && at.state !== "stopped")
    .map((at) => at.on_disk?.version);
  const { query } = route.value;
  const [from, to] = [query.get("from"), query.get("to")];
  const compare = (from, to) => setQuery({ from, to });
  // With what visitors get; that itself with the one before it.
  const other = (version, index) => version === live ? data.versions[index + 1] : live;
  return html`<ol class="timeline" aria-label="Versions, the newest first">${
    data.versions.map((version, index) =>
      html`
        <${Row} key=${version.version + version.incarnation} version=${version} routers=${project
          .routers.length}
          failed=${broken.includes(version.version)}
          rollback=${allowed && version.live.length === 0 && !broken.includes(version.version)
            ? () => setTarget(version)
            : undefined}
          diff=${other(version, index) &&
            (() =>
              version === live
                ? compare(short(other(version, index).version), short(live.version))
                : compare(short(live.version), short(version.version)))} />
      `
    )
  }</ol>
    <p class="dim small">Bars: ${DEPLOY_PHASES.join(", ")}. The whole time is shown on hover.</p>
    ${
    target && html`<${Rollback} name=${name} from=${live} to=${target} onClose=${(done) => {
      setTarget(undefined);
      if (done) again();
    }} />`
  }
    ${
    from && to && html`
      <${Compare} name=${name} versions=${data.versions} from=${from} to=${to}
        choose=${compare} onClose=${() => compare("", "")} />
    `
  }`;
}

function Row({ version, routers, failed, rollback, diff }) {
  const deploy = deploys.value?.get(version.deploy);
  const isLive = version.live.length > 0;
  const state = isLive ? "live" : failed || deploy?.outcome === "failed" ? "failed" : "kept";
  const how = version.commit
    ? "git"
    : version.deploy
    ? (deploy?.action ?? "deploy")
    : "on the volume";
  return html`
    <li data-version=${version.version}>
      <span><${State} state=${state} /> <${Version} version=${version.version} /></span>
      <span class="dim"><${Time} at=${version.at} /></span>
      <span class="what">${version.message
        ? visible(version.message)
        : html`<span class="dim">${
          version.changed ? `${visible(changedFiles(version.changed))} changed` : "no message"
        }</span>`}
          ${" "}<${Commit} commit=${version.commit} /> <span class="tag">${how}${version.by
            ? ` by ${visible(version.by)}`
            : ""}</span></span>
      <span class="dim wide">${version.files === null
        ? ""
        : `${plural(version.files, "file")}, ${bytes(version.bytes)}`}</span>
      <span class="wide">${deploy &&
        html`<${Phases} timings=${deploy.timings_ms} names=${DEPLOY_PHASES} />`}</span>
      <span class="end">${isLive
        ? html`<span class="tag">live on ${version.live.length} of ${routers}</span>`
        : null}
          ${diff &&
            html`<button class="btn" onClick=${diff} aria-label=${`Diff of ${version.version}`}>Diff</button>`}
          ${rollback &&
            html`<button class="btn" onClick=${rollback} aria-label=${`Roll back to ${version.version}`}>Roll back…</button>`}</span>
    </li>
  `;
}

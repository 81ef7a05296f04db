// @ts-check
// Git sources.

import { html } from "../lib.js";
import { Empty, Failure, Loading, State, Time } from "../parts.js";
import { usePolled } from "../poll.js";
import { to } from "../route.js";
import { plural, visible } from "../text.js";

// One word for a source: what keeps it from following comes first.
export function stateOfSource(source) {
  if (source.frozen) return "frozen";
  if (source.problem) return source.problem.kind === "blocked" ? "blocked" : "failed";
  return source.state === "idle" && source.applied && source.applied === source.seen
    ? "live"
    : source.state;
}

export function Sources() {
  const { data, error } = usePolled("sources", 5000);
  return html`<h1 tabindex="-1">Sources</h1>${error && html`<${Failure} error=${error} />`}
    ${
    !data ? !error && html`<${Loading} />` : data.sources.length === 0
      ? html`
        <${Empty} title="There are no git sources">
          <p>A source is a repository whose commits are served. Name a file of them with <code>--sources</code>.</p>
          <//>
      `
      : html`
        <div class="scroll">
          <table>
            <thead>
              <tr>
                <th scope="col">Source</th>
                <th scope="col">State</th>
                <th scope="col">Live commit</th>
                <th scope="col">Synced</th>
                <th scope="col" class="wide">Projects</th>
                <th scope="col">Problem</th>
              </tr>
            </thead>
            <tbody>${data.sources.map((source) =>
              html`
                <tr key=${source.source}>
                  <th scope="row"><a class="name" data-row href=${to(
                    "sources",
                    source.source,
                  )}>${visible(source.source)}</a></th>
                  <td>
                    <${State} state=${stateOfSource(source)} />
                  </td>
                  <td class="v">${visible(source.applied?.slice(0, 12) ?? "–")}</td>
                  <td class="dim">
                    <${Time} at=${source.synced_at} />
                  </td>
                  <td class="wide dim">${plural(source.projects.length, "project")}</td>
                  <td class="err"><span class="cut">${visible(
                    source.problem?.detail ?? "",
                  )}</span></td>
                </tr>
              `
            )}</tbody>
          </table>
        </div>
      `
  }`;
}

// @ts-check
// Requests that have ended, as rows.

import { html } from "../lib.js";
import { Copy, State, Version } from "../parts.js";
import { idOf } from "../requests.js";
import { clock, full, visible } from "../text.js";
import { Phases } from "./phases.js";

const PHASES = ["queue", "head", "body"];
// No status: the client left before the answer began.
const LEFT = "left";
export const CLASSES = ["1xx", "2xx", "3xx", "4xx", "5xx", LEFT];

export function classOf({ status }) {
  return status === null ? LEFT : `${Math.floor(status / 100)}xx`;
}

function timings(request) {
  const head = request.head_ms ?? request.total_ms;
  return {
    queue: request.queued_ms,
    head: Math.max(0, head - request.queued_ms),
    body: request.total_ms - head,
    total: request.total_ms,
  };
}

export function Status({ request }) {
  return html`<${State} state=${classOf(request)} word=${request.status ?? LEFT} />`;
}

export function Duration({ request }) {
  return html`<${Phases} timings=${timings(request)} names=${PHASES} />`;
}

export function RequestTable({ requests, addressOf }) {
  return html`
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th scope="col">Time</th>
            <th scope="col" class="wide">Method</th>
            <th scope="col">Path</th>
            <th scope="col">Status</th>
            <th scope="col">Duration</th>
            <th scope="col" class="wide">Version</th>
            <th scope="col" class="wide">Id</th>
          </tr>
        </thead>
        <tbody>${requests.map((request) =>
          html`<${Row} key=${idOf(request)} request=${request} address=${addressOf(request.id)} />`
        )}</tbody>
      </table>
    </div>
  `;
}

function Row({ request, address }) {
  return html`
    <tr>
      <td class="dim"><time datetime=${request.timestamp} title=${full(request.timestamp)}>${clock(
        request.timestamp,
      )}</time></td>
      <td class="wide">${visible(request.method)}</td>
      <th scope="row"><a class="cut path" data-row href=${address}
        title=${visible(request.path)}>${visible(request.path)}</a></th>
      <td>
        <${Status} request=${request} />
      </td>
      <td>
        <${Duration} request=${request} />
      </td>
      <td class="wide">
        <${Version} version=${request.version} />
      </td>
      <td class="wide">
        <${Copy} text=${request.id} shown=${request.id.slice(0, 8)} label="Copy id" />
      </td>
    </tr>
  `;
}

// @ts-check
// The module `cloudflare:node`. A server of node:http that listens is served directly.

import { markServedByNode } from "ext:switchyard/workers/main.js";

export function httpServerHandler() {
  return markServedByNode({
    fetch() {
      throw new Error(
        "The server of node:http that httpServerHandler stands for gets its requests itself",
      );
    },
  });
}

export function handleAsNodeRequest() {
  throw new Error(
    "handleAsNodeRequest is not part of Switchyard: export httpServerHandler({ port }) by default, " +
      "which serves the whole server",
  );
}

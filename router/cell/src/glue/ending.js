// @ts-check
// Prepares the end of a version: its servers, which get no more requests, no longer keep it alive;
// the project's remaining work does. Loaded before the project's code.

import { core, internals } from "ext:core/mod.js";

const loadProcess = core.createLazyLoader("node:process");

// Returns true if the project listens for `beforeExit`. It does not if node:process was never
// loaded.
function listensForEnd() {
  if (internals.dispatchProcessBeforeExitEvent === undefined) return false;
  try {
    return loadProcess().default.listenerCount("beforeExit") > 0;
  } catch {
    // The project has replaced the method.
    return false;
  }
}

export default function releaseServers() {
  internals.servers.release();
  return listensForEnd();
}

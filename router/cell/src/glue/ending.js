// Prepares the end of a version: nobody asks its servers any more, so they do not keep it alive; what
// the project still has to do does. Loaded before the project's code.

import { core, internals } from "ext:core/mod.js";

const loadProcess = core.createLazyLoader("node:process");

// Whether `process.on("beforeExit")` was called. Where node:process was never loaded nobody did.
function listensForEnd() {
  if (internals.dispatchProcessBeforeExitEvent === undefined) return false;
  try {
    return loadProcess().default.listenerCount("beforeExit") > 0;
  } catch {
    // The project has put something else there.
    return false;
  }
}

export default function letGoOfServers() {
  internals.servers.release();
  return listensForEnd();
}

// Types of globals that Deno's internal scripts have besides the standard ones.

import type { core, primordials } from "./core.d.ts";

declare global {
  /** Defined while Deno's lazily loaded scripts are evaluated. */
  var __bootstrap: { core: typeof core; primordials: typeof primordials };
}

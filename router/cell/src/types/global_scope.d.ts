// Types of Deno's internal module `ext:runtime/98_global_scope_shared.js`.

/** Global properties by the number of the unstable feature that adds them. */
export const unstableForWindowOrWorkerGlobalScope: Record<number, object | undefined>;

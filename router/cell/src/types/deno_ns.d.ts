// Types of Deno's internal module `ext:runtime/90_deno_ns.js`.

/** Properties of `Deno` by the number of the unstable feature that adds them. */
export const denoNsUnstableById: Record<number, object | undefined>;
/** The numbers of the unstable features. */
export const unstableIds: { unsafeProto: number };

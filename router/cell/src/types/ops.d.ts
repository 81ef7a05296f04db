// Types of the handles in Deno's internal module `ext:core/ops` that the cell guards.

// deno-lint-ignore-file no-explicit-any -- Handles of Node have no types.

export const PipeWrap: { prototype: any };
export const TCPWrap: { prototype: any };
export const TTY: { isTTY(fd: number): boolean; prototype: any };

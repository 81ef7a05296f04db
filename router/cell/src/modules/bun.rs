//! Bun's own interfaces, which do not exist here.

/// Advice to use in place of Bun's interfaces.
pub(crate) const INSTEAD: &str = "Bun's own interfaces are not available: use export default { fetch } or Deno.serve for \
                                  Bun.serve, and Node's modules (node:sqlite, node:fs) for the rest";

// All cases, in the order of the table.
//
// A case: `name` (the project's), `group`, `title` (or the versions of its `packages`), `files` by path, or `from` (a folder of
// `projects`), `packages` (newest of npm), `build` (commands), `peer` (`node`, `deno`, `deno-serve`, `wrangler`) with its
// `entry`, and `requests` (paths, or {method, path, headers, body}) whose answers are compared; or a `check` instead, which
// router and peer have to pass. `mask` takes out of texts what differs between two runs. `root`: another projects root, whose
// own files are in `roots`.
import checked from "./cases/checked.mjs";
import deno from "./cases/deno.mjs";
import entries from "./cases/entries.mjs";
import frameworks from "./cases/frameworks.mjs";
import libraries from "./cases/libraries.mjs";
import servers from "./cases/servers.mjs";
import statics from "./cases/statics.mjs";
import supabase, { roots } from "./cases/supabase.mjs";
import workers from "./cases/workers.mjs";

const packages = Object.entries(checked).map(([name, one]) => ({
  name,
  group: "Packages with a check of their own",
  from: name,
  peer: "node",
  entry: ["main.mjs"],
  ...one,
}));

const cases = [...packages, ...libraries, ...servers, ...entries, ...deno, ...frameworks, ...statics, ...workers, ...supabase];
export default Object.assign(cases, { roots });

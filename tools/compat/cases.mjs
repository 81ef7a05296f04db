// All cases, in the order of the table.
//
// A case has
// - `name` (the project's), `group`, and `title` (else the versions of its `packages`);
// - its project: `files` by path, `from` (a folder of `projects`), `packages` (the newest of npm; `scripts` lets them run theirs),
//   `build` (commands), `template` (one of create-cloudflare's), or `of` (another case) with `copy` (pairs of paths there and here);
// - its peer: `peer` (a key of COMMANDS in lib/peers.mjs) with its `entry`; with `peerBuild` (commands) the peer runs a copy of the
//   project in which these were run, such as the `npm install` that a router with --allow-install does itself;
// - `requests` (paths, or {method, path, headers, body}), whose answers are compared, or a `check` that router and peer have to pass,
//   or the `answers` themselves where there is no peer. `mask` takes out of texts what differs between two runs of one program;
// - `expected`: why it differs, where that is by design. Without it a difference fails `--check`. A `note` stands in the table in any case.
// `root` names another projects root, whose own files are in `roots`.
import checked from "./cases/checked.mjs";
import deno from "./cases/deno.mjs";
import entries from "./cases/entries.mjs";
import frameworks from "./cases/frameworks.mjs";
import installed from "./cases/installed.mjs";
import libraries from "./cases/libraries.mjs";
import node from "./cases/node.mjs";
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

const cases = [...packages, ...libraries, ...servers, ...entries, ...node, ...installed, ...deno, ...frameworks, ...statics, ...workers, ...supabase];
export default Object.assign(cases, { roots });

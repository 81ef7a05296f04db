// The table of docs/compatibility.md.

// The part of a result that its reader can act on, on one line.
function why({ note = "", reason, peerReason }) {
  const about = peerReason === null || peerReason === undefined ? "" : `the peer: ${peerReason}`;
  return [note, reason ?? "", about].filter(Boolean).join(". ").replaceAll("|", "\\|").replaceAll("\n", " ");
}

function verdict({ reason, peerReason, skipped }) {
  if (skipped) return "not run";
  if (reason === null) return "same";
  return peerReason === null || peerReason === undefined ? "differs" : "fails in both";
}

function row(result) {
  return `| ${result.title} | ${result.peer ?? "–"} | ${result.requests} | ${verdict(result)} | ${why(result)} |`;
}

// `results` by group, in the order of the groups.
export function report(results, { date, deno, own, node }) {
  const run = results.filter(({ skipped }) => !skipped);
  const served = run.filter(({ peerReason }) => peerReason === null || peerReason === undefined);
  const same = served.filter(({ reason }) => reason === null);
  const groups = [...new Set(results.map(({ group }) => group))];
  const table = (group) => `## ${group}

| project | peer | requests | | |
|---|---|---|---|---|
${results.filter((result) => result.group === group).map(row).join("\n")}
`;
  const share = ((100 * same.length) / served.length).toFixed(1);
  return `# Compatibility

${results.length} projects as their authors write them, untouched, are run by a router (Deno ${own}) and by a peer, Node ${node}, stock Deno ${deno} or wrangler, with the
same files. Each is asked the same requests; status, the headers that matter and body have to be the same. Of the ${served.length} that the peer serves,
**${same.length} (${share} %) answer the same here**. Packages are the newest of npm on ${date}. Made by \`make compat\`; the cases are in
[tools/compat](../tools/compat).

${groups.map(table).join("\n")}`;
}

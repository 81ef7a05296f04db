// The text of docs/compatibility.md, and what `--check` says.

const isServed = ({ peerReason, skipped }) => !skipped && (peerReason ?? null) === null;
const isSame = ({ reason }) => reason === null;

const cell = (text) => text.replaceAll("|", "\\|").replaceAll("\n", " ");

// The part of a result that its reader can act on.
function why({ note, expected, reason, peerReason }) {
  const peers = (peerReason ?? null) === null ? null : `the peer: ${peerReason}`;
  return [note, expected, reason, peers].filter(Boolean).join(". ");
}

function verdict(result) {
  if (result.skipped) return "not run";
  if (!isServed(result)) return isSame(result) ? "runs here alone" : "fails in both";
  return isSame(result) ? "same" : "differs";
}

// What is wrong with a result, in a line; null when it is as expected.
export function unexpected(result) {
  const found = verdict(result);
  if (result.expected !== undefined) return found === "same" ? `${result.name}: the same now, so take its \`expected\` away` : null;
  return found === "same" ? null : `${result.name}: ${found}: ${why(result)}`;
}

const row = (result) => `| ${cell(result.title)} | ${result.peer ?? "–"} | ${result.requests} | ${verdict(result)} | ${cell(why(result))} |`;

const percent = (part, all) => (all === 0 ? "–" : `${((100 * part) / all).toFixed(1)} %`);

function counts(results) {
  const served = results.filter(isServed);
  const same = served.filter(isSame);
  return { all: results.length, served: served.length, same: same.length, share: percent(same.length, served.length) };
}

function summary(group, results) {
  const { all, served, same, share } = counts(results);
  return `| ${group} | ${all} | ${served} | ${same} | ${share} |`;
}

function differing(results) {
  const wrong = results.filter((result) => isServed(result) && !isSame(result));
  if (wrong.length === 0) return "Nothing.";
  return wrong.map((result) => `- **${result.title}** (${result.group}): ${why(result).replace(/\s*\n\s*/g, " ")}`).join("\n");
}

// `results` by group, in the order of the groups.
export function report(results, { date, deno, own, node }) {
  const { all, served, same, share } = counts(results);
  const groups = [...new Set(results.map(({ group }) => group))].map((group) => [group, results.filter((one) => one.group === group)]);
  const table = ([group, those]) => `## ${group}

| project | peer | requests | | |
|---|---|---|---|---|
${those.map(row).join("\n")}
`;
  return `# Compatibility

${all} projects as their authors write them, untouched, are run by a router (Deno ${own}) and by a peer with the same files: Node ${node}, stock
Deno ${deno}, wrangler, or a server of static files. Each is asked the same requests; status, body, and the headers that a client acts on have
to be the same. Of the ${served} that the peer serves, **${same} (${share}) answer the same here**. Packages are the newest of npm on
${date}. Made by \`make compat\`; the cases are in [tools/compat](../tools/compat).

| group | projects | served by the peer | same here | |
|---|---|---|---|---|
${groups.map(([group, those]) => summary(group, those)).join("\n")}

What differs, and why:

${differing(results)}

${groups.map(table).join("\n")}`;
}

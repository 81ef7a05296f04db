// @ts-check
// What was dropped or chosen: the files of one folder, or an archive.

/** @type {[RegExp, string][]} */
const ARCHIVES = [
  [/\.zip$/i, "application/zip"],
  [/\.tar$/i, "application/x-tar"],
  [/\.(tar\.gz|tgz)$/i, "application/gzip"],
  [/\.(tar\.zst|tzst)$/i, "application/zstd"],
];

// More are no project, but a disk that was dropped by mistake.
const MAX_FILES = 20_000;

// Left out of every upload, as the command line does: not part of a project, or secret.
const LEFT_OUT = [/^\.git$/, /^node_modules$/, /^\.env(\..*)?$/, /^\.DS_Store$/];

/** @typedef {{name: string, files: {path: string, file: File}[], left: string[], archive?: File}} Chosen */

/** @returns {Promise<Chosen>} */
export async function dropped(transfer) {
  // Both lists are gone after the first pause.
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const entries = items.map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const files = [...transfer.files];
  if (entries.length === 0) return chosen(files);
  const found = [];
  const left = [];
  for (const entry of entries) await walk(entry, entry.name, found, left);
  return shaped(found, left);
}

// Files of an input, which have the path below the folder that was chosen.
export function chosen(files) {
  const found = [];
  const left = [];
  for (const file of files) {
    const path = file.webkitRelativePath || file.name;
    const out = path.split("/").find(isLeftOut);
    if (out === undefined) found.push({ path, file });
    else note(left, path.slice(0, path.indexOf(out) + out.length));
  }
  return shaped(found, left);
}

function isLeftOut(name) {
  return LEFT_OUT.some((pattern) => pattern.test(name));
}

function note(left, path) {
  if (!left.includes(path)) left.push(path);
}

async function walk(entry, path, found, left) {
  if (isLeftOut(entry.name)) return note(left, path);
  if (found.length >= MAX_FILES) throw new Error(`these are more than ${MAX_FILES} files`);
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push({ path, file });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return;
    for (const one of some) await walk(one, `${path}/${one.name}`, found, left);
  }
}

// Paths below the one folder that holds all, whose name is the project's.
function shaped(found, left) {
  const [only] = found;
  if (found.length === 1 && !only.path.includes("/") && kindOf(only.file.name)) {
    return { name: stem(only.file.name), files: [], left, archive: only.file };
  }
  const top = only?.path.split("/")[0] ?? "";
  const inside = found.every(({ path }) => path.startsWith(top + "/"));
  const below = inside ? top.length + 1 : 0;
  const files = found.map(({ path, file }) => ({ path: path.slice(below), file }));
  files.sort((a, b) => (a.path < b.path ? -1 : 1));
  return {
    name: inside ? top : "",
    files,
    left: left.map((path) => inside && path.startsWith(top + "/") ? path.slice(below) : path),
  };
}

function kindOf(name) {
  return ARCHIVES.find(([pattern]) => pattern.test(name))?.[1];
}

function stem(name) {
  const [pattern] = ARCHIVES.find(([pattern]) => pattern.test(name));
  return name.replace(pattern, "");
}

// A name that a project can have, out of one that a folder has.
export function projectName(text) {
  return text.replace(/[^A-Za-z0-9_-]+/g, "-").replace(/^[-_]+/, "").slice(0, 63);
}

/**
 * The body and the headers of a deploy.
 * @param {Chosen} chosen @param {string} message
 * @returns {{body: BodyInit, headers: Record<string, string>}}
 */
export function request({ files, archive }, message) {
  if (archive) return { body: archive, headers: { "content-type": kindOf(archive.name) } };
  const form = new FormData();
  if (message) form.append("message", message);
  for (const { path, file } of files) form.append("file", file, path);
  return { body: form, headers: {} };
}

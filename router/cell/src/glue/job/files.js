// @ts-check
// `io` of stages: files of a run, below DATA_DIR/runs/ID. The steps of one pipeline share a folder.
// The folders of the latest runs are kept.

import { primordials } from "ext:core/mod.js";
import { unavailable } from "ext:switchyard/job/interfaces.js";
import { toJson } from "ext:switchyard/job/json.js";

const {
  ArrayPrototypePush,
  ArrayPrototypeSort,
  RegExpPrototypeExec,
  SafeArrayIterator,
  SafeRegExp,
  TypeError,
} = primordials;
const { mkdir, readDirSync, readTextFile, removeSync, writeTextFile } = globalThis.Deno;

// Folders that are kept. Ids of runs sort by time.
const KEPT = 100;

// Characters of the JSON of an object.
const MAX_CONTENT = 1 << 28;

const NAME = new SafeRegExp("^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$");
const RUN = new SafeRegExp("^[0-9a-f]{8}-[0-9a-f-]{27}$");

function prune(folder) {
  const names = [];
  // An iterator of Deno's own.
  for (const { name } of readDirSync(folder)) {
    if (RegExpPrototypeExec(RUN, name) !== null) ArrayPrototypePush(names, name);
  }
  ArrayPrototypeSort(names);
  for (let at = 0; at < names.length - KEPT; at++) {
    try {
      removeSync(`${folder}/${names[at]}`, { recursive: true });
    } catch {
      // Another run has removed it.
    }
  }
}

// Objects and arrays are written as JSON.
function textOf(content) {
  return typeof content === "object" && content !== null
    ? toJson(content, "io: the content", MAX_CONTENT)
    : `${content}`;
}

export default function makeFiles(data, run) {
  const runs = `${data}/runs`;
  const own = `${runs}/${run.parent ?? run.id}`;
  const path = (kind, name) => {
    if (typeof name !== "string" || RegExpPrototypeExec(NAME, name) === null) {
      throw new TypeError(
        `io: "${name}" is not the name of a file: letters, digits, ".", "_" and "-"`,
      );
    }
    return `${own}/${kind}/${name}`;
  };
  let isPruned = false;
  const write = async (kind, name, content, { mode = "replace" } = {}) => {
    const file = path(kind, name);
    await mkdir(`${own}/${kind}`, { recursive: true });
    if (!isPruned) prune(runs);
    isPruned = true;
    await writeTextFile(file, textOf(content), { append: mode === "append" });
    return file;
  };
  const read = async (kind, name) => await readTextFile(path(kind, name));
  const io = { __proto__: null, getTaskDir: () => own };
  for (
    const [kind, folder] of new SafeArrayIterator([["Artifact", "artifacts"], ["Log", "logs"], [
      "Tmp",
      "tmp",
    ]])
  ) {
    io[`write${kind}`] = (name, content, options) => write(folder, name, content, options);
    io[`read${kind}`] = (name) => read(folder, name);
  }
  io.getDB = unavailable("io.getDB", "open a database below DATA_DIR with node:sqlite");
  io.runBatch = unavailable("io.runBatch", "use Promise.all, or ctx.step for each");
  return io;
}

// @ts-check
// `ctx.kv`: values that a task keeps between its runs, in a database below DATA_DIR. Runs of one
// router share it, also at the same time.

// deno-lint-ignore-file require-await -- Callers get promises, as from Deno's own.

import { core, primordials } from "ext:core/mod.js";
import { toJson } from "ext:switchyard/job/json.js";

const {
  ArrayIsArray,
  JSONParse,
  JSONStringify,
  SafeArrayIterator,
  StringPrototypeSlice,
  TypeError,
} = primordials;
const { mkdirSync } = globalThis.Deno;

const loadSqlite = core.createLazyLoader("node:sqlite");

// Milliseconds that an access waits for another run's.
const PATIENCE = 5000;

const MAX_KEY = 1024;
const MAX_VALUE = 1 << 20;

// Arrays, as Deno.openKv() takes them, and texts are different keys.
function encode(key, what) {
  const isArray = ArrayIsArray(key);
  if (typeof key !== "string" && !isArray) {
    throw new TypeError(`ctx.kv: ${what} has to be a string, or an array of strings and numbers`);
  }
  const text = isArray ? `a${StringPrototypeSlice(JSONStringify(key), 0, -1)}` : `s${key}`;
  if (text.length > MAX_KEY) {
    throw new TypeError(`ctx.kv: ${what} is longer than ${MAX_KEY} characters`);
  }
  return text;
}

function decode(text) {
  const key = StringPrototypeSlice(text, 1);
  return text[0] === "a" ? `${key}]` : key;
}

// Returns the first text that is greater than all those that begin with `prefix`.
const after = (prefix) => `${prefix}\u{10ffff}`;

// `data`: the path of DATA_DIR. Each task has keys of its own.
export default function makeKv(data, task) {
  let database, statements;

  const open = () => {
    if (statements !== undefined) return statements;
    const folder = `${data}/.switchyard`;
    mkdirSync(folder, { recursive: true });
    const { DatabaseSync } = loadSqlite();
    database = new DatabaseSync(`${folder}/kv.sqlite3`, { timeout: PATIENCE });
    database.exec(
      "CREATE TABLE IF NOT EXISTS kv (task TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, " +
        "PRIMARY KEY (task, key)) WITHOUT ROWID",
    );
    statements = {
      __proto__: null,
      get: database.prepare("SELECT value FROM kv WHERE task = ? AND key = ?"),
      set: database.prepare("INSERT OR REPLACE INTO kv (task, key, value) VALUES (?, ?, ?)"),
      delete: database.prepare("DELETE FROM kv WHERE task = ? AND key = ?"),
      list: database.prepare(
        "SELECT key, value FROM kv WHERE task = ? AND key >= ? AND key < ? ORDER BY key LIMIT 10000",
      ),
    };
    return statements;
  };

  return {
    __proto__: null,
    async get(key) {
      const row = open().get.get(task, encode(key, "the key"));
      return row === undefined ? null : JSONParse(row.value);
    },
    async set(key, value) {
      const encoded = encode(key, "the key");
      open().set.run(task, encoded, toJson(value, "ctx.kv: the value", MAX_VALUE));
    },
    async delete(key) {
      open().delete.run(task, encode(key, "the key"));
    },
    // Returns an object of keys and values: those that begin with `prefix`.
    async list(prefix = "") {
      const encoded = encode(prefix, "the prefix");
      // An array begins with whole parts of another one.
      const first = ArrayIsArray(prefix) && prefix.length > 0 ? `${encoded},` : encoded;
      const found = {};
      for (
        const { key, value } of new SafeArrayIterator(open().list.all(task, first, after(first)))
      ) {
        found[decode(key)] = JSONParse(value);
      }
      return found;
    },
  };
}

// The project's own database. Its pages and its runs are processes of their own, which share DATA_DIR.
import { DatabaseSync } from "node:sqlite";

export interface Report {
  run: string;
  madeAt: string;
  version: string;
  visits: Record<string, number>;
}

const db = new DatabaseSync(`${Deno.env.get("DATA_DIR")}/report.db`);
db.exec("PRAGMA journal_mode = WAL; PRAGMA busy_timeout = 5000");
db.exec("CREATE TABLE IF NOT EXISTS visits (id INTEGER PRIMARY KEY, path TEXT NOT NULL)");
db.exec(
  "CREATE TABLE IF NOT EXISTS reports (run TEXT PRIMARY KEY, until INTEGER NOT NULL, report TEXT NOT NULL)",
);

export function visit(path: string): void {
  db.prepare("INSERT INTO visits (path) VALUES (?)").run(path);
}

export function reports(): Report[] {
  const rows = db.prepare("SELECT report FROM reports ORDER BY rowid DESC LIMIT 20").all();
  return rows.map((row) => JSON.parse(row.report as string));
}

// Makes the report of a run. An attempt that comes after another one of the same run finds its report.
export function report(run: string, make: (visits: Record<string, number>) => Report): Report {
  db.exec("BEGIN IMMEDIATE");
  try {
    const known = db.prepare("SELECT report FROM reports WHERE run = ?").get(run);
    if (known !== undefined) return JSON.parse(known.report as string);
    const since = db.prepare("SELECT ifnull(max(until), 0) AS id FROM reports").get();
    const until = db.prepare("SELECT ifnull(max(id), 0) AS id FROM visits").get();
    const rows = db.prepare(
      "SELECT path, count(*) AS visits FROM visits WHERE id > ? GROUP BY path ORDER BY visits DESC, path",
    ).all(since!.id);
    const made = make(Object.fromEntries(rows.map((row) => [row.path, Number(row.visits)])));
    db.prepare("INSERT INTO reports (run, until, report) VALUES (?, ?, ?)").run(
      run,
      until!.id,
      JSON.stringify(made),
    );
    return made;
  } finally {
    db.exec("COMMIT");
  }
}

// Notes in SQLite, in the project's own folder: they are there for the next version, and after a restart.
import { DatabaseSync } from "node:sqlite";
import { page } from "./page.ts";

const db = new DatabaseSync(`${Deno.env.get("DATA_DIR")}/notes.db`);
// The version before this one may still be finishing its requests.
db.exec("PRAGMA journal_mode = WAL; PRAGMA busy_timeout = 2000");
db.exec("CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)");
const all = db.prepare("SELECT id, text FROM notes ORDER BY id");
const add = db.prepare("INSERT INTO notes (text) VALUES (?)");
const remove = db.prepare("DELETE FROM notes WHERE id = ?");

export default {
  async fetch(request: Request): Promise<Response> {
    const prefix = request.headers.get("x-forwarded-prefix") ?? "";
    if (request.method !== "POST") return page(all.all() as { id: number; text: string }[], prefix);
    const form = await request.formData();
    const [text, id] = [form.get("text"), form.get("remove")];
    if (typeof text === "string" && text.trim() !== "") add.run(text.trim());
    if (typeof id === "string") remove.run(Number(id));
    return new Response(null, { status: 303, headers: { location: `${prefix}/` } });
  },
};

import { DatabaseSync } from "node:sqlite";
import { eq } from "drizzle-orm";
import { drizzle } from "drizzle-orm/sqlite-proxy";
import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core";

const database = new DatabaseSync(`${process.env.DATA_DIR}/drizzle.db`);
database.exec("CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, name TEXT NOT NULL)");
const users = sqliteTable("users", { id: integer().primaryKey(), name: text().notNull() });
const db = drizzle((sql, values, method) => {
  const statement = database.prepare(sql);
  if (method === "run") return { rows: [statement.run(...values)] };
  const rows = statement.all(...values).map(Object.values);
  return { rows: method === "get" ? rows[0] : rows };
});

Deno.serve(async (request) => {
  const name = new URL(request.url).searchParams.get("name");
  await db.insert(users).values({ name });
  return Response.json(await db.select().from(users).where(eq(users.name, name)).limit(1));
});

import http from "node:http";
import pg from "pg";

http.createServer(async (_request, response) => {
  const pool = new pg.Pool({ host: "127.0.0.1", port: 1, connectionTimeoutMillis: 1000 });
  const error = await pool.query("SELECT 1").catch((error) => error);
  await pool.end();
  response.end(JSON.stringify({ refused: error instanceof Error }));
}).listen(process.env.PORT ?? 3000);

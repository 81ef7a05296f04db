import { Hono } from "hono";
import { streamText } from "hono/streaming";

const app = new Hono();
app.get("/", (c) => c.json({ query: c.req.query() }));
app.get("/stream", (c) => streamText(c, async (stream) => {
  for (const word of ["one ", "two ", "three"]) await stream.write(word);
}));
Deno.serve(app.fetch);

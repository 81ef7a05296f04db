// Express 5 from npm, as it is: the port that it names is not opened, Switchyard's is.
import express from "express";

const app = express();
const notes = new Map([[1, "Buy milk"]]);

app.use(express.json());

app.get("/", (_request, response) => {
  response.json([...notes].map(([id, text]) => ({ id, text })));
});

app.get("/:id", (request, response) => {
  const text = notes.get(Number(request.params.id));
  if (text === undefined) return response.status(404).json({ error: "no such note" });
  response.json({ id: Number(request.params.id), text });
});

app.post("/", (request, response) => {
  const id = notes.size + 1;
  notes.set(id, String(request.body?.text ?? ""));
  response.status(201).json({ id });
});

app.listen(3000);

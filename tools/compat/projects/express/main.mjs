import express from "express";

const app = express();
app.set("trust proxy", false);
app.use(express.json());
app.get("/", (request, response) => response.json({ ip: request.ip, query: request.query }));
app.get("/users/:id", (request, response) => response.send(`user ${request.params.id}`));
app.post("/", (request, response) => response.status(201).json(request.body));
app.get("/fails", () => {
  throw new Error("told");
});
app.use((error, _request, response, _next) => response.status(500).send(error.message));
app.listen(process.env.PORT);

import Fastify from "fastify";

const app = Fastify({ logger: true });
app.get("/", (request) => ({ ip: request.ip }));
const body = { type: "object", required: ["name"], properties: { name: { type: "string" } } };
app.post("/", { schema: { body } }, (request, reply) => reply.code(201).send(request.body));
const address = await app.listen({ port: process.env.PORT ?? 3000 });
app.log.info(`told: ${address}`);

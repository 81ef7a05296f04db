import Hapi from "@hapi/hapi";

const server = Hapi.server({ port: process.env.PORT ?? 3000, host: "localhost" });
server.route({ method: "GET", path: "/", handler: (request) => ({ ip: request.info.remoteAddress }) });
server.route({ method: "POST", path: "/", handler: (request, h) => h.response(request.payload).code(201) });
await server.start();
console.log(`told: ${server.info.uri}`);

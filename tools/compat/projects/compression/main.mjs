import compression from "compression";
import cors from "cors";
import express from "express";
import helmet from "helmet";

const app = express();
app.use(helmet(), cors(), compression({ threshold: 0 }));
app.get("/", (_request, response) => response.send("all work and no play ".repeat(1000)));
app.listen(process.env.PORT ?? 3000);

import http from "node:http";
import jwt from "jsonwebtoken";

http.createServer((_request, response) => {
  const token = jwt.sign({ user: "ada" }, "secret", { expiresIn: "1h" });
  let forged;
  try {
    jwt.verify(token, "another");
  } catch (error) {
    forged = error.name;
  }
  response.end(JSON.stringify({ user: jwt.verify(token, "secret").user, forged }));
}).listen(process.env.PORT ?? 3000);

import http from "node:http";
import { MongoClient, ObjectId } from "mongodb";

http.createServer(async (_request, response) => {
  const client = new MongoClient("mongodb://127.0.0.1:1", { serverSelectionTimeoutMS: 300 });
  const error = await client.connect().catch((error) => error);
  await client.close();
  response.end(JSON.stringify({ name: error?.name, id: ObjectId.isValid(String(new ObjectId())) }));
}).listen(process.env.PORT ?? 3000);

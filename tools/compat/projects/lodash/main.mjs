import http from "node:http";
import { addDays, format } from "date-fns";
import dotenv from "dotenv";
import _ from "lodash";
import { from, map, lastValueFrom, toArray } from "rxjs";
import { v7, validate } from "uuid";

http.createServer(async (_request, response) => {
  response.end(JSON.stringify({
    lodash: _.groupBy([1, 2, 3], (n) => (n % 2 ? "odd" : "even")),
    "date-fns": format(addDays(new Date(2026, 1, 28), 1), "yyyy-MM-dd"),
    rxjs: await lastValueFrom(from([1, 2]).pipe(map((n) => n * 10), toArray())),
    uuid: validate(v7()),
    dotenv: dotenv.parse("A=1\nB='two words'"),
  }));
}).listen(process.env.PORT ?? 3000);

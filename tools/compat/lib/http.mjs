// Requests as a browser behind a name would send them, and what of an answer is compared.
import http from "node:http";
import zlib from "node:zlib";

// Of one request, and of one thing that is waited for: 20 seconds.
export const PATIENCE = 20_000;

// Bytes of an answer's body that are kept: 4 MiB.
const MAX_BODY = 4 << 20;

// The headers that a project decides on, and a client acts on.
const COMPARED = ["content-type", "location", "set-cookie", "www-authenticate", "allow", "access-control-allow-origin", "content-encoding"];

// Sends `asked` ({method, path, headers, body}) to 127.0.0.1:`port` as a request to `host`.
export function ask(port, host, { method = "GET", path, headers = {}, body }) {
  return new Promise((done, fail) => {
    const request = http.request({ host: "127.0.0.1", port, method, path, headers: { host, ...headers }, agent: false, timeout: PATIENCE });
    request.on("timeout", () => request.destroy(new Error(`no answer within ${PATIENCE / 1000} seconds`)));
    request.on("error", fail);
    request.on("response", (response) => {
      const parts = [];
      let size = 0;
      response.on("data", (data) => {
        size += data.length;
        if (size <= MAX_BODY) parts.push(data);
      });
      response.on("error", fail);
      response.on("end", () => done({ status: response.statusCode, headers: response.headers, body: Buffer.concat(parts) }));
    });
    request.end(body);
  });
}

// The part of an answer that has to be the same. `mask` takes out what differs between two runs of the same program.
export function comparable({ status, headers, body }, mask = (text) => text) {
  const compared = COMPARED.filter((name) => headers[name] !== undefined).map((name) => [name, mask(normal(name, headers[name]))]);
  const isText = /^(text\/|application\/(json|javascript|xml|problem\+json))|\+json|^$/.test(headers["content-type"] ?? "");
  const plain = decoded(body, headers["content-encoding"]);
  return { status, headers: Object.fromEntries(compared), body: isText ? mask(plain.toString()) : plain.toString("base64") };
}

// Two compressors make other bytes of the same text.
function decoded(body, encoding) {
  const decode = { gzip: zlib.gunzipSync, br: zlib.brotliDecompressSync, deflate: zlib.inflateSync }[encoding];
  return decode && body.length > 0 ? decode(body) : body;
}

function normal(name, value) {
  const text = Array.isArray(value) ? value.join("; ") : value;
  return name === "content-type" ? text.toLowerCase().replaceAll(" ", "") : text;
}

// The first difference between two answers in words; null when there is none.
export function difference(here, there) {
  if (here.status !== there.status) return `status ${here.status}, not ${there.status}: ${here.body.slice(0, 160)}`;
  for (const name of COMPARED) {
    if (here.headers[name] !== there.headers[name]) return `${name} ${here.headers[name]}, not ${there.headers[name]}`;
  }
  if (here.body === there.body) return null;
  let at = 0;
  while (here.body[at] === there.body[at]) at += 1;
  const from = Math.max(0, at - 20);
  return `body ${JSON.stringify(here.body.slice(from, at + 80))}, not ${JSON.stringify(there.body.slice(from, at + 80))}`;
}

// @ts-check
// The binding of a Worker's static files (`env.ASSETS`).

import { primordials } from "ext:core/mod.js";

const { JSONParse, NumberPrototypeToString, StringPrototypeIncludes } = primordials;
const { Deno, Request, Response, URL } = globalThis;
const { open } = Deno;

let find;

export class Assets {
  async fetch(input, init) {
    const request = new Request(input, init);
    if (request.method !== "GET" && request.method !== "HEAD") {
      return new Response(null, { status: 405, headers: { allow: "GET, HEAD" } });
    }
    const { pathname, search } = new URL(request.url);
    const found = find(pathname);
    if (found === undefined) return new Response(null, { status: 404 });
    const answer = JSONParse(found);
    if (answer.to !== undefined) {
      return new Response(null, { status: 307, headers: { location: answer.to + search } });
    }
    return await send(request, answer);
  }
}

async function send(request, { file, type, status }) {
  const opened = await open(file);
  let readable;
  try {
    const { size, mtime } = await opened.stat();
    const time = NumberPrototypeToString(mtime?.getTime() ?? 0, 16);
    const etag = `"${time}-${NumberPrototypeToString(size, 16)}"`;
    const headers = {
      etag,
      "content-type": type,
      "cache-control": "public, max-age=0, must-revalidate",
    };
    const known = request.headers.get("if-none-match");
    if (
      status === 200 && known !== null && (known === "*" || StringPrototypeIncludes(known, etag))
    ) {
      return new Response(null, { status: 304, headers });
    }
    headers["content-length"] = `${size}`;
    if (request.method === "HEAD") return new Response(null, { status, headers });
    readable = opened.readable;
    return new Response(readable, { status, headers });
  } finally {
    if (readable === undefined) opened.close();
  }
}

// Called by the cell with the function that finds the file for a path.
export default function setFinder(finder) {
  find = finder;
}

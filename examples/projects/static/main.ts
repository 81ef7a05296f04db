// A folder of files as a site: types, ETag and 304, parts by Range, HEAD, and nothing outside of the folder.
import { typeOf } from "./types.ts";

const ROOT = new URL("./public/", import.meta.url);

Deno.serve(async (request) => {
  if (request.method !== "GET" && request.method !== "HEAD") {
    return new Response(null, { status: 405, headers: { allow: "GET, HEAD" } });
  }
  const path = pathOf(new URL(request.url).pathname);
  const info = path && await Deno.stat(path).catch(() => null);
  if (!path || !info?.isFile) return new Response("Not found\n", { status: 404 });
  const etag = `W/"${info.size.toString(36)}-${info.mtime?.getTime().toString(36)}"`;
  const headers = new Headers({ "content-type": typeOf(path), etag, "accept-ranges": "bytes" });
  if (request.headers.get("if-none-match") === etag) return new Response(null, { status: 304, headers });
  const part = partOf(request.headers.get("range"), info.size);
  if (part === "none") {
    return new Response(null, { status: 416, headers: { "content-range": `bytes */${info.size}` } });
  }
  const { from, to } = part ?? { from: 0, to: info.size - 1 };
  if (part) headers.set("content-range", `bytes ${from}-${to}/${info.size}`);
  headers.set("content-length", String(to - from + 1));
  const body = request.method === "HEAD" ? null : await read(path, from, to - from + 1);
  return new Response(body, { status: part ? 206 : 200, headers });
});

/** The file that a path names, unless it lies outside. */
function pathOf(pathname: string): URL | null {
  if (/%2f|%5c/i.test(pathname)) return null;
  const url = new URL(`.${pathname}${pathname.endsWith("/") ? "index.html" : ""}`, ROOT);
  return url.href.startsWith(ROOT.href) ? url : null;
}

/** `bytes=0-99`, `bytes=100-` and `bytes=-100`; `null` where the whole is to be sent. */
function partOf(range: string | null, size: number): { from: number; to: number } | "none" | null {
  const [, first, last] = range?.match(/^bytes=(\d*)-(\d*)$/) ?? [];
  if (!first && !last) return null;
  const from = first ? Number(first) : Math.max(0, size - Number(last));
  const to = first && last ? Math.min(Number(last), size - 1) : size - 1;
  return from <= to ? { from, to } : "none";
}

async function read(path: URL, from: number, length: number): Promise<ReadableStream<Uint8Array>> {
  const file = await Deno.open(path);
  await file.seek(from, Deno.SeekMode.Start);
  let left = length;
  const atMost = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, out) {
      out.enqueue(chunk.subarray(0, left));
      left -= chunk.length;
      if (left <= 0) out.terminate();
    },
  });
  return file.readable.pipeThrough(atMost);
}

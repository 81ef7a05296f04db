// The binding of a Worker's static files (`env.ASSETS`): answers as the router does for requests that do not get to the code.

import { primordials } from "ext:core/mod.js";

const {
  ArrayPrototypeJoin,
  ArrayPrototypeMap,
  ArrayPrototypePush,
  ArrayPrototypeSome,
  decodeURIComponent,
  encodeURIComponent,
  RegExpPrototypeExec,
  SafeArrayIterator,
  SafeRegExp,
  StringPrototypeEndsWith,
  StringPrototypeIncludes,
  StringPrototypeLastIndexOf,
  StringPrototypeReplace,
  StringPrototypeSlice,
  StringPrototypeSplit,
  StringPrototypeToLowerCase,
} = primordials;
const { Deno, Request, Response, URL } = globalThis;
const { open, stat } = Deno;

const INDEX = "/index.html", HTML = ".html";
const SLASHES = new SafeRegExp(/\/+/g);
const UNSAFE = new SafeRegExp(/[\0\\]/);

// What lies among the files and is none of them.
const NO_ASSETS = ["/_headers", "/_redirects", "/.assetsignore", "/_worker.js", "/_routes.json"];

const TEXT = "; charset=utf-8";
const TYPES = {
  __proto__: null,
  avif: "image/avif",
  bmp: "image/bmp",
  css: `text/css${TEXT}`,
  csv: `text/csv${TEXT}`,
  eot: "application/vnd.ms-fontobject",
  gif: "image/gif",
  gz: "application/gzip",
  htm: `text/html${TEXT}`,
  html: `text/html${TEXT}`,
  ico: "image/vnd.microsoft.icon",
  jpeg: "image/jpeg",
  jpg: "image/jpeg",
  js: `text/javascript${TEXT}`,
  json: "application/json",
  jsonld: "application/ld+json",
  map: "application/json",
  md: `text/markdown${TEXT}`,
  mjs: `text/javascript${TEXT}`,
  mp3: "audio/mpeg",
  mp4: "video/mp4",
  ogg: "audio/ogg",
  otf: "font/otf",
  pdf: "application/pdf",
  png: "image/png",
  svg: "image/svg+xml",
  ttf: "font/ttf",
  txt: `text/plain${TEXT}`,
  wasm: "application/wasm",
  webm: "video/webm",
  webmanifest: "application/manifest+json",
  webp: "image/webp",
  woff: "font/woff",
  woff2: "font/woff2",
  xml: "application/xml",
  zip: "application/zip",
};

export class Assets {
  #folder;
  #html;
  #notFound;

  constructor({ directory, html_handling, not_found_handling }, root) {
    this.#folder = `${root}/${directory}`;
    this.#html = html_handling;
    this.#notFound = not_found_handling;
  }

  async fetch(input, init) {
    const request = new Request(input, init);
    if (request.method !== "GET" && request.method !== "HEAD") {
      return new Response(null, { status: 405, headers: { allow: "GET, HEAD" } });
    }
    const { pathname, search } = new URL(request.url);
    const path = decode(pathname);
    const found = path === undefined ? undefined : await this.#find(path);
    if (found?.location !== undefined) {
      return new Response(null, { status: 307, headers: { location: encode(found.location) + search } });
    }
    if (found !== undefined) return await this.#answer(request, found, 200);
    return await this.#missing(request, path ?? "/");
  }

  // The file for a path, or where the path is called otherwise.
  async #find(path) {
    for (const name of new SafeArrayIterator(this.#candidates(path))) {
      const file = await this.#look(name);
      if (file === undefined) continue;
      const url = this.#url(name);
      if (url === path) return file;
      // Another file may have that URL.
      if (await this.#first(url) === name) return { location: url };
      if (name === path) return file;
    }
  }

  async #first(path) {
    for (const name of new SafeArrayIterator(this.#candidates(path))) {
      if (await this.#look(name) !== undefined) return name;
    }
  }

  // The files that a path may mean, the best first.
  #candidates(path) {
    if (this.#html === "none") return [path];
    if (StringPrototypeEndsWith(path, "/")) {
      const stem = StringPrototypeSlice(path, 0, -1);
      return stem === "" ? [INDEX] : [stem + INDEX, stem + HTML];
    }
    const names = [path, path + HTML, path + INDEX];
    if (StringPrototypeEndsWith(path, HTML)) {
      ArrayPrototypePush(names, StringPrototypeSlice(path, 0, -HTML.length) + INDEX);
    }
    return names;
  }

  // The path by which a file is asked for.
  #url(name) {
    if (this.#html === "none" || !StringPrototypeEndsWith(name, HTML)) return name;
    const isIndex = StringPrototypeEndsWith(name, INDEX);
    const stem = StringPrototypeSlice(name, 0, isIndex ? -INDEX.length : -HTML.length);
    const slash = this.#html === "force-trailing-slash" ||
      (isIndex && this.#html === "auto-trailing-slash");
    return slash || stem === "" ? `${stem}/` : stem;
  }

  async #look(name) {
    if (ArrayPrototypeSome(NO_ASSETS, (other) => other === name)) return undefined;
    try {
      const { isFile, size, mtime } = await stat(this.#folder + name);
      return isFile ? { name, size, mtime } : undefined;
    } catch {
      return undefined;
    }
  }

  async #answer(request, { name, size, mtime }, status) {
    const dot = StringPrototypeLastIndexOf(name, ".");
    const type = TYPES[StringPrototypeToLowerCase(StringPrototypeSlice(name, dot + 1))];
    const etag = `"${(mtime?.getTime() ?? 0).toString(16)}-${size.toString(16)}"`;
    const headers = { etag, "cache-control": "public, max-age=0, must-revalidate" };
    if (type !== undefined) headers["content-type"] = type;
    const known = request.headers.get("if-none-match");
    if (status === 200 && known !== null && (known === "*" || StringPrototypeIncludes(known, etag))) {
      return new Response(null, { status: 304, headers });
    }
    headers["content-length"] = `${size}`;
    if (request.method === "HEAD") return new Response(null, { status, headers });
    const { readable } = await open(this.#folder + name);
    return new Response(readable, { status, headers });
  }

  async #missing(request, path) {
    if (this.#notFound === "single-page-application") {
      const page = await this.#look(INDEX);
      if (page !== undefined) return await this.#answer(request, page, 200);
    }
    if (this.#notFound === "404-page") {
      let folder = path;
      while (folder !== "") {
        folder = StringPrototypeSlice(folder, 0, StringPrototypeLastIndexOf(folder, "/"));
        const page = await this.#look(`${folder}/404.html`);
        if (page !== undefined) return await this.#answer(request, page, 404);
      }
    }
    return new Response(null, { status: 404 });
  }
}

// A path as files have it; none when it could lead elsewhere.
function decode(pathname) {
  const parts = ArrayPrototypeMap(StringPrototypeSplit(pathname, "/"), (part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  const isWrong = (part) =>
    part === ".." || part === "." || StringPrototypeIncludes(part, "/") || RegExpPrototypeExec(UNSAFE, part) !== null;
  if (ArrayPrototypeSome(parts, isWrong)) return undefined;
  return StringPrototypeReplace(ArrayPrototypeJoin(parts, "/"), SLASHES, "/");
}

function encode(path) {
  return ArrayPrototypeJoin(ArrayPrototypeMap(StringPrototypeSplit(path, "/"), (part) => encodeURIComponent(part)), "/");
}

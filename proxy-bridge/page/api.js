// @ts-check
// Calls to the bridge's API, which is documented in docs/api.md.

import { signedOut, token } from "./session.js";

// The page may be below a path of a proxy: the API is beside `ui/`.
const BASE = new URL("..", document.baseURI);

// An answer that is an error: a problem document (RFC 9457), or no answer at all.
export class ApiError extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? `the bridge answered ${status}`);
    this.status = status;
    this.problem = problem;
    this.slug = String(problem.type ?? "").split("/").pop();
  }
}

/** @param {string} path @param {RequestInit} [options] */
export async function call(path, options = {}) {
  const headers = new Headers(options.headers);
  if (token()) headers.set("authorization", `Bearer ${token()}`);
  let response;
  try {
    response = await fetch(new URL(path, BASE), { ...options, headers, credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { detail: "the bridge cannot be reached: is it running?" });
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  if (response.status === 401) signedOut.value = true;
  throw new ApiError(response.status, problem);
}

/** @param {string} path @param {AbortSignal} [signal] */
export async function get(path, signal) {
  return await (await call(path, { signal })).json();
}

/** @param {string} method @param {string} path @param {unknown} [body] */
export async function send(method, path, body) {
  const options = body === undefined ? { method } : {
    method,
    body: JSON.stringify(body),
    headers: { "content-type": "application/json" },
  };
  const text = await (await call(path, options)).text();
  return text ? JSON.parse(text) : undefined;
}

// A part of a path.
export function part(text) {
  return encodeURIComponent(text);
}

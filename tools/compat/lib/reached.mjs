// What a check of the packages talks to.
import { setTimeout as sleep } from "node:timers/promises";
import { PATIENCE } from "./http.mjs";

// A project at `address`, by the host's name if it has one: by path where it has none.
export function reached(address, host, printed) {
  const prefix = host === undefined ? "" : `/${host.split(".")[0]}`;
  const ask = (path, init = {}) => fetch(`http://${address}${prefix}${path}`, { signal: AbortSignal.timeout(PATIENCE), ...init });
  return {
    ask,
    printed,
    get: (path) => ask(path),
    post: (path, body) =>
      ask(path, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
    socket: (path) => openSocket(`ws://${address}${prefix}${path}`),
  };
}

async function openSocket(url) {
  const socket = new WebSocket(url);
  const [came, waiting] = [[], []];
  socket.onmessage = ({ data }) => (waiting.shift() ?? ((data) => came.push(data)))(data);
  const next = () => (came.length > 0 ? came.shift() : new Promise((done) => waiting.push(done)));
  const inTime = (promise) =>
    Promise.race([promise, sleep(PATIENCE, null, { ref: false }).then(() => Promise.reject(new Error("the socket is silent")))]);
  const opened = new Promise((done, fail) => {
    socket.onopen = done;
    socket.onerror = () => fail(new Error("the WebSocket was refused"));
  });
  await inTime(opened);
  return { send: (text) => socket.send(text), next: () => inTime(Promise.resolve(next())), close: () => socket.close() };
}

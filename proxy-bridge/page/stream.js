// @ts-check
// Live data. All tabs share one stream: browsers open six connections to a host, and a stream holds
// one of them. The tab that holds a lock reads it, and passes everything on to the others.

import { call } from "./api.js";
import { signal } from "./lib.js";
import { token } from "./session.js";
import { readEvents } from "./sse.js";

// `connecting`, `live` or `away`.
export const link = signal("connecting");

// Topics change in bursts, as when a screen is left for another one.
const SETTLE = 60;
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15_000;
// Followers say every so often what they need. One that does not is gone.
const REPEAT = 15_000;
const SILENT = 100_000;

const me = crypto.getRandomValues(new Uint32Array(2)).join("-");
/** @type {Set<{topic: string, take: (kind: string, data: any) => void, resync: () => void}>} */
const wanted = new Set();
/** @type {BroadcastChannel | undefined} */
let channel;
/** @type {Leader | undefined} */
let leader;
let settling = 0;

/**
 * Follows a topic until the returned function is called. `resync` reads everything: it is called at
 * once, and again whenever events may have been missed.
 * @param {string} topic @param {(kind: string, data: any) => void} take @param {() => void} resync
 */
export function follow(topic, take, resync) {
  const one = { topic, take, resync };
  wanted.add(one);
  announce();
  resync();
  return () => {
    wanted.delete(one);
    announce();
  };
}

// The topics of this tab. A hidden one shows nothing, and needs nothing.
function topics() {
  return document.hidden ? [] : [...new Set([...wanted].map((one) => one.topic))].sort();
}

function announce() {
  clearTimeout(settling);
  settling = setTimeout(() => say({ type: "topics", tab: me, topics: topics() }), SETTLE);
}

// Sends a message to all tabs, this one too.
function say(message) {
  channel?.postMessage(message);
  receive(message);
}

function receive(message) {
  if (message.type === "topics") leader?.note(message.tab, message.topics);
  else if (message.type === "leader") announce();
  else if (message.type === "link") link.value = message.link;
  else if (message.type === "fresh") {
    const fresh = new Set(message.topics);
    for (const one of [...wanted]) if (fresh.has(one.topic)) one.resync();
  } else if (message.type === "event") {
    for (const one of [...wanted]) {
      if (concerns(one.topic, message)) one.take(message.kind, message.data);
    }
  }
}

const KINDS = {
  projects: "projects",
  routers: "projects",
  deploys: "deploys",
  event: "events",
  loads: "loads",
};

function concerns(topic, { kind, data }) {
  return KINDS[kind] === topic || data.topic === topic;
}

// Begins, with the token that this tab has by now. Tabs with other tokens see other things.
export async function start() {
  const group = `switchyard-${await fingerprint(token())}`;
  const held = globalThis.BroadcastChannel && navigator.locks;
  if (held) {
    channel = new BroadcastChannel(group);
    channel.onmessage = ({ data }) => receive(data);
    navigator.locks.request(group, () => {
      lead();
      // Until the tab is closed.
      return new Promise(() => {});
    });
  } else lead();
  document.addEventListener("visibilitychange", announce);
  addEventListener("pagehide", () => say({ type: "topics", tab: me, topics: [] }));
  setInterval(announce, REPEAT);
  announce();
}

function lead() {
  leader = new Leader();
  say({ type: "leader" });
}

// A name for the token that does not tell it. Without HTTPS there is no crypto.subtle, and no lock.
async function fingerprint(text) {
  if (!crypto.subtle) return "";
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode("tabs:" + text));
  return [...new Uint8Array(hash.slice(0, 8))].map((byte) => byte.toString(16)).join("");
}

// The reader of the stream, for all tabs.
class Leader {
  constructor() {
    this.tabs = new Map();
    this.open = /** @type {string[]} */ ([]);
    this.stop = () => {};
    this.pause = FIRST_PAUSE;
    this.retry = 0;
  }

  note(tab, topics) {
    const now = Date.now();
    if (topics.length > 0) this.tabs.set(tab, { topics, at: now });
    else this.tabs.delete(tab);
    for (const [name, { at }] of this.tabs) if (now - at > SILENT) this.tabs.delete(name);
    const all = new Set([...this.tabs.values()].flatMap(({ topics }) => topics));
    const next = [...all].sort();
    if (next.join() === this.open.join()) {
      // A tab that is new needs to know, too.
      if (link.peek() === "live") say({ type: "link", link: "live" });
      return;
    }
    this.read(next);
  }

  // Opens a stream of these topics. The one before goes on until it is there.
  async read(topics) {
    clearTimeout(this.retry);
    const before = { topics: this.open, stop: this.stop };
    this.open = topics;
    if (topics.length === 0) {
      this.stop = () => {};
      return before.stop();
    }
    const abort = new AbortController();
    let ended = false;
    const stop = () => {
      ended = true;
      abort.abort();
    };
    this.stop = stop;
    try {
      const response = await call(`stream?topics=${topics.join()}`, { signal: abort.signal });
      await readEvents(response, (kind, data) => {
        if (kind === "hello") {
          before.stop();
          this.pause = FIRST_PAUSE;
          say({ type: "link", link: "live" });
          say({ type: "fresh", topics: topics.filter((topic) => !before.topics.includes(topic)) });
        } else if (kind === "reset") say({ type: "fresh", topics });
        else say({ type: "event", kind, data });
      });
    } catch (error) {
      if (error.status === 401 || error.status === 403) ended = true;
    }
    before.stop();
    if (ended || this.stop !== stop) return;
    // None of the topics is followed now: all of them are read again once they are.
    this.open = [];
    this.stop = () => {};
    say({ type: "link", link: "away" });
    const pause = this.pause * (0.5 + Math.random() / 2);
    this.pause = Math.min(this.pause * 2, LONGEST_PAUSE);
    this.retry = setTimeout(announceAll, pause);
  }
}

function announceAll() {
  say({ type: "leader" });
}

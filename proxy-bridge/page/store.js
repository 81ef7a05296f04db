// @ts-check
// What the bridge knows, kept up to date while a screen shows it. Each list has a limit.

import { get } from "./api.js";
import { batch, computed, signal, useEffect } from "./lib.js";
import { follow } from "./stream.js";

// Entries beyond these are the oldest, and are forgotten: a tab stays open for days.
const MAX_DEPLOYS = 1000;
export const MAX_EVENTS = 1000;

// Undefined until they are there.
export const projects = signal(/** @type {Map<string, any> | undefined} */ (undefined));
export const routers = signal(/** @type {any[] | undefined} */ (undefined));
export const deploys = signal(/** @type {Map<string, any> | undefined} */ (undefined));
export const events = signal(/** @type {any[] | undefined} */ (undefined));
// Why the last reading failed.
export const failure = signal(/** @type {Error | undefined} */ (undefined));

export const projectList = computed(() => [...projects.value?.values() ?? []]);

// A topic, the answer that it begins with, and the changes of it that come meanwhile: those are
// applied once the answer is there.
export class Topic {
  /**
   * @param {string} topic @param {string} path @param {(answer: any) => void} load
   * @param {(kind: string, data: any) => void} change
   * @param {(error?: Error) => void} [fail] Takes the error of the last reading, or that there is none.
   */
  constructor(topic, path, load, change, fail = (error) => failure.value = error) {
    this.topic = topic;
    this.path = path;
    this.load = load;
    this.change = change;
    this.fail = fail;
    this.users = 0;
    this.reading = 0;
    this.waiting = /** @type {any[]} */ ([]);
    this.stop = () => {};
  }

  use() {
    this.users += 1;
    if (this.users === 1) {
      this.stop = follow(this.topic, (kind, data) => this.take(kind, data), () => this.read());
    }
    return () => {
      this.users -= 1;
      if (this.users === 0) this.stop();
    };
  }

  take(kind, data) {
    if (this.reading > 0) this.waiting.push([kind, data]);
    else this.change(kind, data);
  }

  async read() {
    this.reading += 1;
    try {
      const answer = await get(this.path);
      batch(() => {
        this.fail();
        this.load(answer);
        for (const [kind, data] of this.waiting) this.change(kind, data);
      });
    } catch (error) {
      this.fail(error);
    } finally {
      this.reading -= 1;
      if (this.reading === 0) this.waiting = [];
    }
  }
}

const projectTopic = new Topic("projects", "projects", (answer) => {
  projects.value = new Map(answer.projects.map((project) => [project.project, project]));
  routers.value = answer.routers;
}, (kind, data) => {
  if (kind === "routers") {
    const reachable = (list) => list?.map((router) => router.router + router.reachable).join();
    const differ = reachable(routers.value) !== reachable(data.routers);
    routers.value = data.routers;
    // Which versions count as different depends on who can be reached.
    if (differ) projectTopic.read();
    return;
  }
  const next = new Map(projects.value);
  for (const project of data.projects) next.set(project.project, project);
  for (const name of data.gone) next.delete(name);
  projects.value = next;
});

const deployTopic = new Topic("deploys", "deploys", (answer) => {
  deploys.value = new Map(answer.deploys.map((deploy) => [deploy.deploy, deploy]));
}, (_, data) => {
  const next = new Map(deploys.value);
  for (const deploy of data.deploys) next.set(deploy.deploy, deploy);
  for (const id of data.gone) next.delete(id);
  if (next.size > MAX_DEPLOYS) {
    const oldest = [...next.values()].sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
    for (const { deploy } of oldest.slice(0, next.size - MAX_DEPLOYS)) next.delete(deploy);
  }
  deploys.value = next;
});

const eventTopic = new Topic("events", "events", (answer) => {
  events.value = answer.events.slice(0, MAX_EVENTS);
}, (_, event) => {
  const known = events.value ?? [];
  const is = (other) =>
    other.data.router === event.data.router && other.data.sequence === event.data.sequence;
  if (known.some(is)) return;
  // A router posts again what it could not post at its time.
  const at = known.findIndex((other) => other.timestamp <= event.timestamp);
  events.value = known.toSpliced(at === -1 ? known.length : at, 0, event).slice(0, MAX_EVENTS);
});

// Keeps lists up to date while a component is shown.
export function useProjects() {
  useEffect(() => projectTopic.use(), []);
}

export function useDeploys() {
  useEffect(() => deployTopic.use(), []);
}

export function useEvents() {
  useEffect(() => eventTopic.use(), []);
}

// The state of a project over all routers, as one word; the worst one wins.
export function stateOf(project) {
  if (project.removed) return "removed";
  const there = project.routers.filter((router) => router.state !== null);
  const has = (state) => there.some((router) => router.state === state);
  if (has("stopped")) return "stopped";
  if (has("invalid")) return "invalid";
  if (has("failed")) return there.some((router) => router.live) ? "stale" : "failed";
  if (project.skew) return "skew";
  if (has("building")) return "building";
  if (has("live")) return "live";
  return has("idle") ? "idle" : "unknown";
}

// The version that visitors get: of the first router that serves one.
export function liveOf(project) {
  return project.routers.find((router) => router.live)?.live;
}

export function errorOf(project) {
  return project.routers.find((router) => router.error)?.error;
}

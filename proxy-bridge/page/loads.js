// @ts-check
// The load of each project while a screen shows it, and its last values.

import { signal, useEffect } from "./lib.js";
import { Topic } from "./store.js";

// Values of a project that are kept: those of five minutes.
const KEPT = 60;

// By project, with its values so far as `history`. One that does nothing is not there.
export const loads = signal(/** @type {Map<string, any> | undefined} */ (undefined));

const topic = new Topic("loads", "metrics/projects", add, (_, figures) => add(figures));

export function useLoads() {
  useEffect(() => topic.use(), []);
}

function add({ projects }) {
  const at = Date.now() / 1000;
  const before = loads.peek() ?? new Map();
  loads.value = new Map(projects.map((load) => {
    const { in_flight, memory, max_memory } = load.used;
    const value = { at, rate: load.per_second, in_flight, memory, max_memory };
    const history = [...before.get(load.project)?.history ?? [], value].slice(-KEPT);
    return [load.project, { ...load, history }];
  }));
}

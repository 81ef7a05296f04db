// @ts-check
// The load of each project, asked for while a screen shows it, and its last values.

import { signal, useEffect } from "./lib.js";
import { usePolled } from "./poll.js";

const EVERY = 5000;
// Values of a project that are kept: those of five minutes.
const KEPT = 60;

// By project, with its values so far as `history`. One that does nothing is not there.
export const loads = signal(/** @type {Map<string, any> | undefined} */ (undefined));

export function useLoads() {
  const { data } = usePolled("metrics/projects", EVERY);
  useEffect(() => {
    if (data) loads.value = withHistory(data.projects);
  }, [data]);
}

function withHistory(list) {
  const at = Date.now() / 1000;
  const before = loads.peek() ?? new Map();
  return new Map(list.map((load) => {
    const { in_flight, memory, max_memory } = load.used;
    const value = { at, rate: load.per_second, in_flight, memory, max_memory };
    const history = [...before.get(load.project)?.history ?? [], value].slice(-KEPT);
    return [load.project, { ...load, history }];
  }));
}

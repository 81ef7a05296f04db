// @ts-check
// The last requests of a project, as they end.

import { part } from "./api.js";
import { useEffect, useMemo, useState } from "./lib.js";
import { routers, Topic } from "./store.js";

// The number of requests that a router keeps of a project, and that are kept here of all routers.
export const KEPT = 500;

export const idOf = (request) => [request.router, request.timestamp, request.id].join(" ");

/**
 * The requests of a project while a component shows them, the newest first: undefined until they are
 * there. `lost` of them ended faster than they could be sent.
 * @param {string} name
 */
export function useRequests(name) {
  const [state, setState] = useState({ lost: 0, errors: [] });
  // Routers that can be reached again have requests that are not here.
  const reachable = routers.value?.filter((router) => router.reachable).map(({ router }) => router);
  const topic = useMemo(() => {
    const set = (changes) => setState((before) => ({ ...before, ...changes(before) }));
    const path = `projects/${part(name)}/requests?limit=${KEPT}`;
    const load = ({ requests, errors }) => set(() => ({ requests, errors }));
    const change = (kind, data) => {
      if (kind === "gap") set(({ lost }) => ({ lost: lost + data.lost }));
      else if (kind === "requests") {
        set(({ requests = [] }) => ({ requests: join(requests, data.requests) }));
      }
    };
    return new Topic(`requests:${name}`, path, load, change, (error) => set(() => ({ error })));
  }, [name]);
  useEffect(() => topic.use(), [topic, reachable?.join()]);
  return /** @type {{requests?: any[], errors: any[], error?: Error, lost: number}} */ (state);
}

// A router sends those of the past again.
function join(requests, more) {
  const known = new Set(requests.map(idOf));
  const fresh = more.filter((request) => !known.has(idOf(request)));
  const at = new Map();
  for (const request of [...requests, ...fresh]) at.set(request, Date.parse(request.timestamp));
  return [...at.keys()].sort((a, b) => at.get(b) - at.get(a)).slice(0, KEPT);
}

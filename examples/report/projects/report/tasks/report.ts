// A scheduled task: each run is a process of its own, on the version that was live when it began. What it
// returns is the run's result; what it keeps in DATA_DIR is there for the page.
import { report } from "../store.ts";

interface Context {
  run: { id: string; scheduledAt: string | null; version: string };
  params: { least: number };
}

export default function ({ run, params }: Context) {
  const made = report(run.id, (visits) => ({
    run: run.id,
    madeAt: run.scheduledAt ?? new Date().toISOString(),
    version: run.version,
    visits: Object.fromEntries(Object.entries(visits).filter(([, count]) => count >= params.least)),
  }));
  console.log(`${Object.keys(made.visits).length} pages were visited`);
  return made;
}

// A task: each run is a process of its own. What it returns is the run's result.
interface Context {
  run: { id: string; scheduledAt: string | null };
  params: { name: string };
}

export default function ({ run, params }: Context) {
  console.log(`run ${run.id} greets ${params.name}`);
  return { greeting: `Hello ${params.name}`, at: run.scheduledAt ?? new Date().toISOString() };
}

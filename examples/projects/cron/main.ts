// A job every minute, between the requests, and a page that shows it as it happens, by server-sent events.
// Reload the project meanwhile: a stream that has begun stays with the version that it began on.
import page from "./page.ts";

const runs: string[] = [];
const readers = new Set<ReadableStreamDefaultController<string>>();

Deno.cron("take the time", "* * * * *", () => {
  const time = new Date().toISOString();
  runs.push(time);
  if (runs.length > 10) runs.shift();
  for (const reader of readers) reader.enqueue(message(time));
});

Deno.serve((request) => {
  const { pathname } = new URL(request.url);
  return pathname === "/events" ? events() : page(request);
});

function events(): Response {
  let own: ReadableStreamDefaultController<string>;
  const body = new ReadableStream<string>({
    start(controller) {
      own = controller;
      readers.add(own);
      // Sent at once, so that the reader knows that the stream is open.
      own.enqueue(": hello\n\n" + runs.map(message).join(""));
    },
    cancel: () => void readers.delete(own),
  });
  return new Response(body.pipeThrough(new TextEncoderStream()), {
    headers: { "content-type": "text/event-stream", "cache-control": "no-store" },
  });
}

function message(time: string): string {
  return `data: ${time}\n\n`;
}

// React on the server, streamed: what is known at once is sent at once, and what takes longer follows when it is there.
import { renderToReadableStream } from "react-dom/server";
import { Page } from "./page.tsx";

export default {
  async fetch(request: Request): Promise<Response> {
    const page = await renderToReadableStream(<Page reviews={reviews()} />, { signal: request.signal });
    return new Response(page, { headers: { "content-type": "text/html; charset=utf-8" } });
  },
};

/** Stands for a slow database. */
async function reviews(): Promise<string[]> {
  await new Promise((done) => setTimeout(done, 500));
  return ["Light, and holds a lot.", "The zip is loud."];
}

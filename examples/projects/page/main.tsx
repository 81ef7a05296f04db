// A page rendered on the server: TypeScript, JSX with a tiny runtime of its own, an import map and a JSON import.
import { render } from "jsx/jsx-runtime";
import trains from "./trains.json" with { type: "json" };
import { Board } from "~/board.tsx";

const STYLE = `
  body { font: 1.1rem/1.6 system-ui; max-width: 36rem; margin: 3rem auto }
  td { padding-right: 2rem }
`;

export default {
  fetch(): Response {
    const page = (
      <html lang="en">
        <head>
          <meta charset="utf-8" />
          <title>Departures</title>
          <link rel="icon" href="data:," />
          <style>{STYLE}</style>
        </head>
        <body>
          <h1>Departures</h1>
          <Board trains={trains} />
        </body>
      </html>
    );
    return new Response(`<!doctype html>${render(page)}`, {
      headers: { "content-type": "text/html; charset=utf-8" },
    });
  },
};

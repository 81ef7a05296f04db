import type { Report } from "./store.ts";

const ENTITIES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

export function page(path: string, reports: Report[], prefix: string): Response {
  const links = ["/", "/prices", "/contact"].map((link) => `<a href="${prefix}${link}">${link}</a>`);
  const rows = reports.map(({ madeAt, version, visits }) => {
    const counts = Object.entries(visits).map(([path, count]) => `${escape(path)}: ${count}`);
    return `<tr><td>${madeAt}<td>${counts.join(", ") || "no visits"}<td>${escape(version)}`;
  });
  const html = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Report</title><link rel="icon" href="data:,">
<style>body { font: 1.1rem/1.6 system-ui; max-width: 44rem; margin: 3rem auto } td { padding-right: 1.5rem }</style>
<h1>${escape(path)}</h1>
<p>This visit was counted. Make more: ${links.join(" ")}
<h2>Reports</h2>
<table>${rows.join("\n") || "<tr><td>None yet: the first one is made at the next full minute."}</table>`;
  return new Response(html, { headers: { "content-type": "text/html; charset=utf-8" } });
}

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (character) => ENTITIES[character]);
}

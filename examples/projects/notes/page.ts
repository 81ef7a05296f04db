const ENTITIES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

export function page(notes: { id: number; text: string }[], prefix: string): Response {
  const items = notes.map(({ id, text }) =>
    `<li>${escape(text)} <button name="remove" value="${id}" aria-label="Remove">×</button></li>`
  );
  const html = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Notes</title><link rel="icon" href="data:,">
<style>body { font: 1.1rem/1.6 system-ui; max-width: 36rem; margin: 3rem auto } input { font: inherit; width: 100% }</style>
<h1>Notes</h1>
<form method="post" action="${prefix}/"><ul>${items.join("")}</ul></form>
<form method="post" action="${prefix}/"><input name="text" autofocus placeholder="A new note"></form>`;
  return new Response(html, { headers: { "content-type": "text/html; charset=utf-8" } });
}

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (character) => ENTITIES[character]);
}

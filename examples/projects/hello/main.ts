// The smallest project: a default export with a fetch method. Edit the text and reload.
export default {
  fetch(request: Request): Response {
    const { pathname } = new URL(request.url);
    return new Response(`Hello from ${pathname}\n`);
  },
};

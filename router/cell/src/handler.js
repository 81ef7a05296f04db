// The handler that a project exports, put behind Deno's own server. Run before the project's code, so that nothing it
// does to `Deno` changes this; and so that the server's modules are loaded by then.
(() => {
  const { serve } = Deno;
  return (main) => {
    const exported = main.default;
    let handler;
    if (typeof exported?.fetch === "function") {
      handler = (request, info) => exported.fetch(request, info);
    } else if (typeof exported === "function" && typeof exported.listen !== "function") {
      // An app of Express and the like is a function too, but not of a Request, and listens by itself.
      handler = (request, info) => exported(request, info);
    } else {
      return;
    }
    const told = exported.onListen;
    const onListen = typeof told === "function" ? (address) => told.call(exported, address) : () => {};
    serve({ handler, onListen });
  };
})()

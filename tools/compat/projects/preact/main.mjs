import { h } from "preact";
import { useState } from "preact/hooks";
import { render } from "preact-render-to-string";

const Counter = ({ start }) => {
  const [count] = useState(start);
  return h("b", null, count);
};
Deno.serve(() => new Response(render(h("main", null, "Preact ", h(Counter, { start: 3 })))));

// WebAssembly, imported like any other module: the Mandelbrot set in letters. `npx wat2wasm mandelbrot.wat` (of the
// package wabt) makes the module.
import { steps } from "./mandelbrot.wasm";

const SHADES = " .:-=+*#%@";
const LIMIT = 1000;

export default function (request: Request): Response {
  const { searchParams } = new URL(request.url);
  const columns = Math.min(200, Number(searchParams.get("columns")) || 80);
  const rows = Math.ceil(columns * 0.4);
  const lines = Array.from({ length: rows }, (_, row) => {
    const y = -1.2 + 2.4 * row / (rows - 1);
    return Array.from({ length: columns }, (_, column) => shade(-2.2 + 3.2 * column / (columns - 1), y)).join("");
  });
  return new Response(lines.join("\n") + "\n");
}

function shade(x: number, y: number): string {
  const taken = steps(x, y, LIMIT);
  return taken === LIMIT ? SHADES.at(-1)! : SHADES[Math.min(SHADES.length - 2, Math.floor(taken / 2))];
}

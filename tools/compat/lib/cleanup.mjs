// What must not be left behind when this program is stopped in the middle: processes and temporary folders.
const left = new Set();

// Has `undo` called when this program ends, unless the function that this gives was called before.
export function atEnd(undo) {
  left.add(undo);
  return () => left.delete(undo);
}

process.on("exit", () => {
  for (const undo of left) undo();
});
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));

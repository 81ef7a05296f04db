/** HTML that is finished: it is not escaped again. */
class Html {
  constructor(readonly text: string) {}
}

type Child = Html | string | number | boolean | null | undefined | Child[];
type Props = Record<string, unknown> & { children?: Child };
// deno-lint-ignore no-explicit-any -- each component has props of its own
type Component = (props: any) => Html;

/** Where TypeScript looks for the types of JSX. */
export declare namespace JSX {
  type Element = Html;
  interface IntrinsicElements {
    [tag: string]: Props;
  }
  interface ElementChildrenAttribute {
    children: unknown;
  }
}

const VOID = new Set(["br", "hr", "img", "input", "link", "meta"]);
const RAW = new Set(["script", "style"]);
const ENTITIES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

export function render(child: Child): string {
  if (Array.isArray(child)) return child.map(render).join("");
  if (child instanceof Html) return child.text;
  if (child === null || child === undefined || typeof child === "boolean") return "";
  return escape(String(child));
}

export function jsx(tag: string | Component, { children, ...attributes }: Props): Html {
  if (typeof tag === "function") return tag({ ...attributes, children });
  const open = `<${tag}${Object.entries(attributes).map(attribute).join("")}>`;
  if (VOID.has(tag)) return new Html(open);
  const inner = RAW.has(tag) ? String(children ?? "") : render(children);
  return new Html(`${open}${inner}</${tag}>`);
}

export { jsx as jsxs };

export const Fragment = ({ children }: Props): Html => new Html(render(children));

function attribute([name, value]: [string, unknown]): string {
  if (value === false || value === null || value === undefined) return "";
  return value === true ? ` ${name}` : ` ${name}="${escape(String(value))}"`;
}

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (character) => ENTITIES[character]);
}

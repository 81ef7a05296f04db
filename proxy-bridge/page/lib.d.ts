// The types of the libraries, as far as the page uses them.

export interface Signal<T> {
  value: T;
  peek(): T;
}
export function signal<T>(value?: T): Signal<T>;
export function computed<T>(compute: () => T): Signal<T>;
export function effect(run: () => void | (() => void)): () => void;
export function batch(run: () => void): void;
export function html(strings: TemplateStringsArray, ...values: unknown[]): unknown;
// deno-lint-ignore no-explicit-any
export function charts(): Promise<any>;
export function render(tree: unknown, parent: Element): void;
export function useEffect(run: () => void | (() => void), inputs?: unknown[]): void;
export function useLayoutEffect(run: () => void | (() => void), inputs?: unknown[]): void;
// deno-lint-ignore no-explicit-any
export function useRef<T = any>(value?: T): { current: T };
// deno-lint-ignore no-explicit-any
export function useState<T = any>(value?: T): [T, (next: T | ((now: T) => T)) => void];
export function useMemo<T>(make: () => T, inputs: unknown[]): T;
export function useSignal<T>(value?: T): Signal<T>;

// Types of Deno's internal modules `ext:core/mod.js` and `ext:core/ops`, as far as the cell's own
// JavaScript uses them.

// deno-lint-ignore-file no-explicit-any -- Internals of Deno and objects of a project have no types.

type Key = string | number | symbol;
type Callable = (...args: any[]) => any;
type Constructor = new (...args: any[]) => any;

/** Deno's loader of internal scripts and its low-level interfaces. */
export const core: {
  BadResourcePrototype: Error;
  NotCapable: { new (message?: string): Error; prototype: Error };
  callConsole: Callable;
  cancelTimer(timer: number): void;
  createLazyLoader(specifier: string): () => any;
  createSystemTimer(callback: () => void, milliseconds: number, isRef: boolean): number;
  defineGlobalProperties(target: object, properties: object): void;
  getAsyncContext(): any;
  loadExtScript(specifier: string): any;
  ops: Record<string, Callable>;
  print(text: string, isError?: boolean): void;
  setAsyncContext(context: unknown): void;
  tryClose(rid: number): void;
  v8Console: Record<string, Callable>;
};

/** Values that Deno's internal modules, and the cell's, share. */
export const internals: {
  Console: new (print: (text: string, level: number) => void) => Console;
  /** What `servers.js` offers to `node_servers.js`. */
  servers: {
    NODE: number;
    PORT: number;
    begin(kind: number, listen: (path: string) => void): void;
    claim(server: {
      kind: number;
      name: string;
      port: number | undefined;
      take(path: string): boolean;
      drop?(): void;
    }): string | undefined;
    compression: {
      isOn(): boolean;
      codingOf(type: string, accepted: string): string | undefined;
      open(coding: string): number;
      run(compressor: number, operation: number, piece?: Uint8Array): Uint8Array;
      close(compressor: number): void;
    };
    keep(server: { unref(): void }): void;
    release(): void;
    warnOfTcp(port: number): void;
  };
  __nodeBootstrapArgs?: { nodeDebug: string };
  /** Calls `work` in the trace of a `traceparent`. Set while telemetry is on. */
  inTrace?: <T>(traceparent: unknown, work: () => T) => T;
  dispatchProcessBeforeExitEvent?: () => boolean;
  /** Returns a handler like this one, whose output is marked with the request. Main thread only. */
  markHandler?: <T>(handler: T) => T;
  /** Calls `call`, whose output, and that of what follows from it, is marked with the owner's id. */
  inside<T>(owner: { __proto__?: null; id: string }, call: () => T): T;
  inspectArgs(args: unknown[]): string;
  log(level: string, ...args: unknown[]): void;
  /** Marks all output that belongs to no request with the id of a run. */
  markRun(id: string): void;
};

/** Built-in functions as they were before any code of a project ran. */
export const primordials: {
  ArrayBufferIsView(value: unknown): value is ArrayBufferView;
  ArrayBufferPrototype: ArrayBuffer;
  ArrayIsArray(value: unknown): value is unknown[];
  ArrayPrototypeFind<T>(array: T[], predicate: (value: T) => unknown): T | undefined;
  ArrayPrototypeFindIndex<T>(array: T[], predicate: (value: T) => unknown): number;
  ArrayPrototypeFindLast<T>(array: T[], predicate: (value: T) => unknown): T | undefined;
  ArrayPrototypeIncludes<T>(array: T[], value: T): boolean;
  ArrayPrototypeJoin(array: unknown[], separator: string): string;
  ArrayPrototypePop<T>(array: T[]): T | undefined;
  ArrayPrototypePush<T>(array: T[], ...values: T[]): number;
  ArrayPrototypeSome<T>(array: T[], predicate: (value: T) => unknown): boolean;
  ArrayPrototypeSort<T>(array: T[]): T[];
  ArrayPrototypeSplice<T>(array: T[], start: number, count?: number): T[];
  ArrayPrototypeUnshift<T>(array: T[], ...values: T[]): number;
  DateNow(): number;
  DateParse(text: string): number;
  Error: ErrorConstructor;
  FunctionPrototypeBind(target: Callable, self: unknown, ...args: unknown[]): Callable;
  FunctionPrototypeCall(target: Callable, self: unknown, ...args: unknown[]): any;
  JSONParse(text: string): any;
  JSONStringify(value: unknown): string;
  MathFloor(value: number): number;
  MathRandom(): number;
  Number: NumberConstructor;
  NumberIsInteger(value: unknown): boolean;
  NumberIsNaN(value: unknown): boolean;
  NumberPrototypeToString(value: number, radix?: number): string;
  ObjectAssign<T extends object, U>(target: T, ...sources: U[]): T & U;
  ObjectCreate(prototype: object | null, properties?: PropertyDescriptorMap): any;
  ObjectDefineProperties<T extends object>(target: T, properties: PropertyDescriptorMap): T;
  ObjectDefineProperty<T extends object>(
    target: T,
    key: Key,
    descriptor: PropertyDescriptor & { __proto__?: null },
  ): T;
  ObjectEntries<T>(target: Record<string, T>): [string, T][];
  ObjectFreeze<T>(target: T): T;
  ObjectGetOwnPropertyDescriptor(target: object, key: Key): PropertyDescriptor | undefined;
  ObjectGetOwnPropertyDescriptors(target: object): PropertyDescriptorMap;
  ObjectGetPrototypeOf(target: unknown): object | null;
  ObjectHasOwn(target: object, key: Key): boolean;
  ObjectKeys(target: object): string[];
  ObjectPrototype: object;
  ObjectPrototypeIsPrototypeOf(prototype: object, value: unknown): boolean;
  ObjectSetPrototypeOf(target: object, prototype: object | null): object;
  Promise: PromiseConstructor;
  PromisePrototype: Promise<unknown>;
  PromisePrototypeThen<T>(
    promise: Promise<T>,
    fulfilled?: (value: T) => unknown,
    rejected?: (reason: any) => unknown,
  ): Promise<any>;
  PromiseResolve<T>(value?: T): Promise<T>;
  Proxy: ProxyConstructor;
  ReflectApply(target: Callable, self: unknown, args: unknown[]): any;
  ReflectConstruct(target: Callable | Constructor, args: unknown[], newTarget?: unknown): any;
  ReflectOwnKeys(target: object): Key[];
  RegExpPrototypeExec(expression: RegExp, text: string): RegExpExecArray | null;
  SafeArrayIterator: new <T>(array: T[]) => IterableIterator<T>;
  SafeMap: MapConstructor;
  SafeRegExp: RegExpConstructor;
  SafeSet: SetConstructor;
  SafeWeakMap: new () => {
    delete(key: unknown): boolean;
    get(key: unknown): any;
    has(key: unknown): boolean;
    set(key: object, value: unknown): unknown;
  };
  SafeWeakSet: new () => { add(value: object): unknown; has(value: unknown): boolean };
  String: StringConstructor;
  StringPrototypeEndsWith(text: string, end: string): boolean;
  StringPrototypeIncludes(text: string, part: string): boolean;
  StringPrototypeLastIndexOf(text: string, part: string): number;
  StringPrototypeReplaceAll(text: string, part: string, by: string): string;
  StringPrototypeSlice(text: string, start: number, end?: number): string;
  StringPrototypeSplit(text: string, separator: string): string[];
  StringPrototypeStartsWith(text: string, start: string): boolean;
  StringPrototypeToLowerCase(text: string): string;
  Symbol: SymbolConstructor;
  TypeError: TypeErrorConstructor;
  TypedArrayPrototypeGetByteLength(array: Uint8Array): number;
  TypedArrayPrototypeGetSymbolToStringTag(value: unknown): string | undefined;
  Uint8Array: Uint8ArrayConstructor;
};

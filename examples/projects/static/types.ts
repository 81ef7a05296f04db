const TYPES: Record<string, string> = {
  css: "text/css; charset=utf-8",
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
  txt: "text/plain; charset=utf-8",
};

export function typeOf({ pathname }: URL): string {
  return TYPES[pathname.slice(pathname.lastIndexOf(".") + 1)] ?? "application/octet-stream";
}

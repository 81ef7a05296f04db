// A page that counts its visits, and shows the reports that the task in tasks/report.ts has made of them.
import { page } from "./page.ts";
import { reports, visit } from "./store.ts";

export default {
  fetch(request: Request): Response {
    const { pathname } = new URL(request.url);
    if (pathname === "/reports") return Response.json(reports());
    visit(pathname);
    return page(pathname, reports(), request.headers.get("x-forwarded-prefix") ?? "");
  },
};

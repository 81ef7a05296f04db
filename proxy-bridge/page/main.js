// @ts-check
// The page's frame: header, the screen of the address, sign-in.

import { get } from "./api.js";
import { effect, html, render, useEffect, useRef } from "./lib.js";
import { listen, sheetOpen } from "./keys.js";
import { readAddress, route, to } from "./route.js";
import { caller, setToken, signedOut, takeToken } from "./session.js";
import { link, start } from "./stream.js";
import { failure } from "./store.js";
import { Failure } from "./parts.js";
import { KeySheet } from "./screens/keysheet.js";
import { Theme } from "./screens/theme.js";
import { SignIn } from "./screens/signin.js";
import { Overview } from "./screens/overview.js";
import { Project } from "./screens/project.js";
import { Deploys } from "./screens/deploys.js";
import { Deploy } from "./screens/deploy.js";
import { NewDeploy } from "./screens/newdeploy.js";
import { Sources } from "./screens/sources.js";
import { Source } from "./screens/source.js";
import { Tasks } from "./screens/tasks.js";
import { Task } from "./screens/task.js";
import { Run } from "./screens/run.js";
import { Events } from "./screens/events.js";
import { Routers } from "./screens/routers.js";

const SECTIONS = [
  ["", "Projects"],
  ["deploys", "Deploys"],
  ["sources", "Sources"],
  ["tasks", "Tasks"],
  ["events", "Events"],
  ["routers", "Routers"],
];

// Returns the screen of an address, its section and its title.
function screen([first, second, third]) {
  switch (first) {
    case undefined:
      return ["", "Projects", html`<${Overview} />`];
    case "projects":
      return ["", second, html`<${Project} key=${second} name=${second} tab=${third ?? "now"} />`];
    case "deploys":
      if (second === "new") return ["deploys", "New deploy", html`<${NewDeploy} />`];
      if (second) return ["deploys", "Deploy", html`<${Deploy} key=${second} id=${second} />`];
      return ["deploys", "Deploys", html`<${Deploys} />`];
    case "sources":
      if (second) return ["sources", second, html`<${Source} key=${second} name=${second} />`];
      return ["sources", "Sources", html`<${Sources} />`];
    case "tasks":
      if (second) return ["tasks", second, html`<${Task} key=${second} id=${second} />`];
      return ["tasks", "Tasks and runs", html`<${Tasks} />`];
    case "runs":
      return ["tasks", "Run", html`<${Run} key=${second} id=${second} />`];
    case "events":
      return ["events", "Events", html`<${Events} />`];
    case "routers":
      return ["routers", "Routers", html`<${Routers} />`];
    default:
      return [
        "",
        "Not found",
        html`
          <h1 tabindex="-1">There is nothing at this address</h1>
          <p><a href="#/">All projects</a></p>
        `,
      ];
  }
}

function Header({ section }) {
  const signOut = () => {
    setToken("");
    location.reload();
  };
  return html`<header><a class="mark" href="#/"><i></i>Switchyard</a>
    <nav aria-label="Sections">${
    SECTIONS.map(([name, title]) =>
      html`<a key=${name} href=${to(...name ? [name] : [])} aria-current=${
        name === section ? "page" : null
      }>${title}</a>`
    )
  }</nav>
    <${Theme} />
    <button class="icon" aria-label="Keys" title="Keys" onClick=${() =>
    sheetOpen.value = true}><kbd>?</kbd></button>
    ${caller.value?.token && html`<button class="btn" onClick=${signOut}>Sign out</button>`}
  </header>`;
}

function Page() {
  const { parts } = route.value;
  const main = useRef();
  const first = useRef(true);
  const [section, title, content] = screen(parts);
  const place = parts.slice(0, 2).join("/");
  // A screen reader begins to read at the new heading.
  useEffect(() => {
    document.title = `${title} · Switchyard`;
    if (!first.current) main.current?.querySelector("h1")?.focus();
    first.current = false;
  }, [place]);
  if (signedOut.value) return html`<${SignIn} />`;
  if (!caller.value) {
    return html`<main>${failure.value && html`<${Failure} error=${failure.value} />`}</main>`;
  }
  return html`
    <a class="skip" href="#main" onClick=${(event) => {
      event.preventDefault();
      main.current.focus();
    }}>Skip to content</a><${Header}
      section=${section} />
        ${link.value === "away" && html`<p class="away" role="status">The bridge cannot be reached:
      this is what was known last. Trying again…</p>`}
        <main id="main" tabindex="-1" ref=${main}>
          ${failure.value && link.value !== "away" && html`<${Failure} error=${failure.value} />`}
          ${content}</main>
        ${sheetOpen.value && html`<${KeySheet} />`}
  `;
}

async function boot() {
  takeToken();
  readAddress();
  render(html`<${Page} />`, document.getElementById("page"));
  listen();
  for (;;) {
    try {
      caller.value = await get("whoami");
      failure.value = undefined;
      break;
    } catch (error) {
      if (error.status === 401) return;
      failure.value = error;
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }
  start();
}

effect(() => {
  if (signedOut.value) sheetOpen.value = false;
});
boot();

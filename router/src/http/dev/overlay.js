// Added to pages by a router that runs with --dev: shows why the newest version of the page's project is
// not live, and loads the page again once another version is.
(() => {
  const [project, version] = (document.currentScript?.dataset.switchyard ?? "").split("@");
  if (!project || window.top !== window) return;

  const STYLE = `
    :host { all: initial }
    section {
      position: fixed; inset: auto 1rem 1rem; z-index: 2147483647; box-sizing: border-box; max-height: 70vh;
      overflow: auto; padding: 1rem 1.25rem; border-left: .4rem solid #c0392b; border-radius: .4rem;
      background: #1d1f21; color: #eee; box-shadow: 0 .3rem 2rem #0008; font: 15px/1.5 system-ui, sans-serif;
    }
    header { display: flex; gap: 1rem; justify-content: space-between }
    code { color: #ff9d8f }
    pre { margin: .5rem 0 0; white-space: pre-wrap; font: 13px/1.5 ui-monospace, monospace }
    button { all: unset; cursor: pointer; padding: 0 .4rem }
    button:focus-visible { outline: 2px solid #6cf }
  `;
  const host = document.createElement("switchyard-overlay");
  const root = host.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE);
  root.adoptedStyleSheets = [sheet];

  // Texts of a project are never markup.
  const element = (name, text, ...children) => {
    const made = document.createElement(name);
    made.textContent = text;
    made.append(...children);
    return made;
  };

  function show(error) {
    const place = [error.file, error.line, error.column].filter((part) => part != null).join(":");
    const close = element("button", "✕");
    close.setAttribute("aria-label", "Close");
    close.addEventListener("click", () => host.remove());
    const title = element("strong", `${project} does not build `, element("code", place));
    const box = element(
      "section",
      "",
      element("header", "", title, close),
      element("pre", error.message),
    );
    if (error.frame) box.append(element("pre", error.frame));
    box.setAttribute("role", "alert");
    root.replaceChildren(box);
    document.documentElement.append(host);
  }

  // A page that comes out of a cache with its old script must not be loaded again for ever.
  function reload(key) {
    try {
      if (sessionStorage.getItem("switchyard-dev") === key) return;
      sessionStorage.setItem("switchyard-dev", key);
    } catch {
      return;
    }
    location.reload();
  }

  let seen = "";
  function take(change) {
    const key = JSON.stringify(change);
    if (change.project !== project || key === seen) return;
    const isFirst = seen === "";
    seen = key;
    if (change.version && change.version !== version) return reload(key);
    if (version && change.error) return show(change.error);
    if (version) return host.remove();
    // The router's own page shows the error already.
    if (!isFirst || document.body?.dataset.switchyardError === undefined) reload(key);
  }

  // One tab follows for all: browsers open only six connections to a host over HTTP/1.1.
  const channel = new BroadcastChannel("switchyard-dev");
  channel.onmessage = ({ data }) => {
    if (data === "repeat") { for (const change of last.values()) channel.postMessage(change); }
    else take(data);
  };
  const last = new Map();
  const follow = () =>
    new Promise(() => {
      const source = new EventSource("/.switchyard/changes");
      source.onmessage = ({ data }) => {
        const change = JSON.parse(data);
        last.set(change.project, change);
        channel.postMessage(change);
        take(change);
      };
    });
  if (navigator.locks) navigator.locks.request("switchyard-dev", follow);
  else follow();
  channel.postMessage("repeat");
})();

// The theme, set before the first paint: dark, light, or the system's.

(() => {
  const known = ["dark", "light"];
  function apply() {
    const wanted = localStorage.getItem("switchyard-theme");
    if (known.includes(wanted)) document.documentElement.dataset.theme = wanted;
    else delete document.documentElement.dataset.theme;
  }
  apply();
  // The choice is the same in all tabs.
  addEventListener("storage", apply);
  addEventListener("switchyard-theme", apply);
})();

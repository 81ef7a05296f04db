document.querySelector("img").addEventListener("click", ({ target }) => target.classList.toggle("turned"));

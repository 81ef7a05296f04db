// @ts-check
// The sign-in, shown when the API asks for a token.

import { html, useState } from "../lib.js";
import { call } from "../api.js";
import { setToken, token } from "../session.js";
import { visible } from "../text.js";

export function SignIn() {
  const [text, setText] = useState("");
  const [problem, setProblem] = useState(
    token() ? "The bridge does not know the token of this tab." : "",
  );
  const signIn = async (event) => {
    event.preventDefault();
    setToken(text.trim());
    try {
      await call("whoami");
      // Everything begins anew, with the rights of this token.
      location.reload();
    } catch (error) {
      setToken("");
      setProblem(error.status === 401 ? "The bridge does not know this token." : error.message);
    }
  };
  return html`
    <main class="signin">
      <form onSubmit=${signIn}>
        <h1>Switchyard</h1>
        <p
          class="dim">This bridge asks for a token. It is a value of the file that the operator named with${" "}
          <code>--token-file</code>, and stays in this tab until it is closed.</p>
        <label for="token">Token</label>
        <input id="token" type="password" autocomplete="off" spellcheck="false" required autofocus
          value=${text} aria-describedby="token-problem" onInput=${(event) =>
            setText(event.target.value)} />
        <p id="token-problem" class="err" role="alert">${visible(problem)}</p>
        <button class="btn p">Sign in</button>
      </form>
    </main>
  `;
}

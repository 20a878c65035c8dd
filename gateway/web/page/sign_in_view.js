// The button and the dialog to sign in.

import { byId, setText } from "./dom.js";

export class SignInView {
  #credentials;

  // `reconnect()` is called when the token has changed.
  constructor(credentials, reconnect) {
    this.#credentials = credentials;
    byId("sign-in-open").addEventListener("click", () => this.#open());
    byId("sign-out").addEventListener("click", () => {
      credentials.token = "";
      reconnect();
    });
    byId("sign-in-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const token = byId("sign-in-token").value.trim();
      byId("sign-in-token").value = "";
      if (!token) return;
      credentials.token = token;
      byId("sign-in").close();
      reconnect();
    });
  }

  // Shows who is signed in. The button is hidden as long as nothing shows that the gateway has a policy.
  draw() {
    const { problem, user, token } = this.#credentials;
    const button = byId("sign-in-open");
    button.hidden = !(problem || user || token);
    const known = user && user !== "anonymous";
    setText(button, known ? user : "Sign in");
    button.toggleAttribute("data-problem", Boolean(problem));
    button.title = problem || (known ? `Signed in as ${user}` : "Sign in");
    setText(byId("sign-in-problem"), problem);
  }

  #open() {
    byId("sign-out").hidden = !this.#credentials.token;
    byId("sign-in").showModal();
    byId("sign-in-token").focus();
  }
}

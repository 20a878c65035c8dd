// Who the user of the page is: the token that they signed in with, which is kept for this tab only, and sent in commands
// and header fields, never in an address. No DOM.

const KEY = "backplane.token";
const REFUSED = ["not_authenticated", "not_permitted"];

// Whether an error of the gateway says that its policy does not permit something.
export const isRefusal = ({ code }) => REFUSED.includes(code);

// Calls `changed()` when `problem` or `user` has changed.
export class Credentials {
  problem = "";  // why the token was refused, or what is not permitted; "" if nothing was
  user = null;  // by the gateway's status; null: unknown, or the gateway has no policy
  #storage;
  #changed;

  constructor(changed = () => {}, storage = globalThis.sessionStorage) {
    this.#changed = changed;
    this.#storage = storage;
  }

  get token() {
    return this.#storage.getItem(KEY) ?? "";
  }

  // "" signs out.
  set token(token) {
    if (token) this.#storage.setItem(KEY, token);
    else this.#storage.removeItem(KEY);
  }

  // The header fields of a request.
  get headers() {
    return this.token ? { Authorization: `Bearer ${this.token}` } : {};
  }

  // The gateway has refused the token or a command.
  refused({ code, text }) {
    this.#set(text || code, this.user);
  }

  // The gateway's status names the user.
  see(user) {
    this.#set(this.problem, user ?? null);
  }

  #set(problem, user) {
    if (problem === this.problem && user === this.user) return;
    this.problem = problem;
    this.user = user;
    this.#changed();
  }
}

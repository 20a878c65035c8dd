// What is on screen, in the address's hash: for bookmarks, sharing and the back button.
//   #sub=stock.%3E+last+every%3D1s&sub=clock&tab=1&view=chart&field=price&window=300&find=stock&sort=rate

import { parseRequest, requestText } from "./protocol.js";
import { patternProblem } from "./pattern.js";

export const WINDOWS_S = [60, 300, 900, 3600];
export const SUBSCRIPTIONS_MAX = 9;
export const PLACES = ["events", "topics", "status", "publish"];

export function readHash(hash) {
  const query = new URLSearchParams(hash.replace(/^#/, ""));
  const requests = query.getAll("sub").map(parseRequest)
    .filter((request) => request && patternProblem(request.pattern) === "").slice(0, SUBSCRIPTIONS_MAX);
  const tab = Number(query.get("tab") ?? 0);
  const window = Number(query.get("window"));
  return {
    requests,
    tab: Number.isInteger(tab) && tab >= 0 && tab < requests.length ? tab : 0,
    view: query.get("view") === "chart" ? "chart" : "text",
    field: query.get("field") ?? "",
    window: WINDOWS_S.includes(window) ? window : WINDOWS_S[0],
    find: query.get("find") ?? "",
    sort: query.get("sort") === "rate" ? "rate" : "name",
    place: PLACES.includes(query.get("place")) ? query.get("place") : "",
  };
}

// Defaults are left out.
export function writeHash(state) {
  const query = new URLSearchParams();
  for (const request of state.requests) query.append("sub", requestText(request));
  if (state.tab > 0) query.set("tab", state.tab);
  if (state.view === "chart") query.set("view", "chart");
  if (state.field) query.set("field", state.field);
  if (state.window !== WINDOWS_S[0]) query.set("window", state.window);
  if (state.find) query.set("find", state.find);
  if (state.sort !== "name") query.set("sort", state.sort);
  if (state.place) query.set("place", state.place);
  const text = query.toString();
  // A hash may contain these unescaped, which is easier to read.
  return text && `#${text.replaceAll("%24", "$").replaceAll("%3A", ":").replaceAll("%2C", ",")}`;
}

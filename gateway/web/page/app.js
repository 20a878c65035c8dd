// The page's composition root: makes the parts and passes events between them. The address's hash contains what is
// on screen (url_state.js), for bookmarks and sharing.

import { Watch } from "./watch.js";
import { Subscription } from "./subscription.js";
import { Publisher } from "./publisher.js";
import { TopicsView } from "./topics_view.js";
import { SubscriptionsView, FULL } from "./subscriptions_view.js";
import { EventsView } from "./events_view.js";
import { ChartView } from "./chart_view.js";
import { StatusView, pollStatus } from "./status_view.js";
import { PublishView } from "./publish_view.js";
import { CommandView } from "./command_view.js";
import { Credentials } from "./credentials.js";
import { SignInView } from "./sign_in_view.js";
import { startTheme } from "./theme.js";
import { startKeys } from "./keys.js";
import { SUBSCRIPTIONS_MAX, readHash, writeHash } from "./url_state.js";
import { requestText } from "./protocol.js";
import { asOf, count, rate, words } from "./format.js";
import { byId, make, setText } from "./dom.js";

const TURN_MS = 200;
const REDUCED_MOTION_TURNS = 5;  // with reduced motion, the chart moves once a second

const socketUrl = new URL("v1/socket", location.href);
socketUrl.protocol = location.protocol === "https:" ? "wss:" : "ws:";
socketUrl.hash = "";

const screen = { ...readHash(location.hash), subscriptions: [] };
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

const credentials = new Credentials(() => signInView.draw());
// What is on screen is in the address, and comes back.
const signInView = new SignInView(credentials, () => location.reload());
const watch = new Watch(socketUrl, {
  changed: () => { drawConnection(); drawStatus(); },
  topics: () => { topicsView.update(); drawTotals(); drawOffers(); },
  value: (name) => topicsView.value(name),
}, { credentials });
const topicsView = new TopicsView(watch, (name) => subscribe(withLast(name)));
const subscriptionsView = new SubscriptionsView({ subscribe, choose, close });
const eventsView = new EventsView();
const chartView = new ChartView();
const statusView = new StatusView();
const commandView = new CommandView();
new PublishView(new Publisher(socketUrl, { credentials }));

const active = () => screen.subscriptions[screen.tab];
const hashNow = () => writeHash({ ...screen, requests: screen.subscriptions.map((each) => each.request) });

function withLast(pattern) {
  return { pattern, last: true, every: "", since: "", policy: "" };
}

function keepHash() {
  const hash = hashNow();
  if (hash !== location.hash) history.replaceState(null, "", hash || location.pathname);
}

function open(request) {
  const subscription = new Subscription(socketUrl, request, () => changed(subscription), { credentials });
  screen.subscriptions.push(subscription);
}

function subscribe(request) {
  const same = screen.subscriptions.findIndex((each) => requestText(each.request) === requestText(request));
  if (same < 0 && screen.subscriptions.length >= SUBSCRIPTIONS_MAX) {
    subscriptionsView.problem(FULL);
    return;
  }
  if (same < 0) open(request);
  choose(same < 0 ? screen.subscriptions.length - 1 : same);
  goTo("events");
}

function choose(index) {
  if (index < 0 || index >= screen.subscriptions.length) return;
  screen.tab = index;
  screen.field = "";
  showActive();
}

function close(index) {
  const [subscription] = screen.subscriptions.splice(index, 1);
  subscription?.close();
  screen.field = "";
  if (screen.tab > index || screen.tab >= screen.subscriptions.length) screen.tab = Math.max(0, screen.tab - 1);
  showActive();
}

// Shows the chosen subscription from its oldest kept row.
function showActive() {
  const subscription = active();
  subscriptionsView.tabs(screen.subscriptions, screen.tab);
  byId("view").hidden = !subscription;
  byId("empty").hidden = Boolean(subscription);
  pause(false);
  eventsView.show(subscription);
  if (subscription) {
    subscriptionsView.fill(subscription.request);
    subscriptionsView.problem(subscription.state === "refused" ? subscription.problem : "");
    commandView.show(subscription.request);
    screen.field ||= subscription.field;
  }
  setView(screen.view);
  keepHash();
}

function changed(subscription) {
  if (subscription !== active()) return;
  if (subscription.state === "refused") subscriptionsView.problem(subscription.problem);
}

function setView(view) {
  screen.view = view;
  const chart = view === "chart";
  byId("as-text").setAttribute("aria-pressed", !chart);
  byId("as-chart").setAttribute("aria-pressed", chart);
  for (const id of ["window-label", "chart-box"]) byId(id).hidden = !chart;
  for (const id of ["events", "sampled", "pause", "clear"]) byId(id).hidden = chart;
  plot();
  keepHash();
}

// Draws a chart of the chosen field, or else of the first field.
function plot() {
  const subscription = active();
  chartView.reset();
  for (const each of screen.subscriptions) {
    if (each !== subscription || screen.view !== "chart") each.plot("", 0);
  }
  if (!subscription) return;
  if (screen.view !== "chart") {
    screen.field = "";
    subscriptionsView.fields(subscription, "");
    return;
  }
  screen.field ||= subscription.fields.find((field) => !/time|date/i.test(field)) ?? subscription.fields[0] ?? "";
  byId("chart-window").value = screen.window;
  subscriptionsView.fields(subscription, screen.field);
  subscription.plot(screen.field, screen.window);
}

function pause(paused) {
  eventsView.pause(paused);
  byId("pause").setAttribute("aria-pressed", paused);
  setText(byId("pause"), paused ? "Continue" : "Pause");
}

function clear() {
  active()?.clearRows();
  eventsView.show(active());
}

function goTo(place) {
  screen.place = place === "events" ? "" : place;
  document.body.dataset.place = place;
  for (const button of document.querySelectorAll(".places button")) {
    if (button.dataset.place === place) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  topicsView.redraw();
  keepHash();
}

const CONNECTION = {
  connecting: () => "connecting",
  live: () => "live",
  waiting: () => "no broker",
  away: () => {
    const seconds = Math.ceil((watch.retryAt - performance.now()) / 1000);
    return seconds > 0 ? `no gateway, retry in ${seconds} s` : "no gateway, retrying";
  },
};

function drawConnection() {
  const badge = byId("connection");
  if (badge.dataset.state !== watch.state) setText(byId("announce"), CONNECTION[watch.state]());
  badge.dataset.state = watch.state;
  badge.title = watch.state === "away" ? `${words(watch.reason)}. Retry now` : "Connection to the gateway and its broker";
  setText(badge, CONNECTION[watch.state]());
}

function drawTotals() {
  setText(byId("total-rate"), rate(watch.topics.totalRate));
  setText(byId("total-topics"), count(watch.topics.total));
}

function drawStatus() {
  statusView.draw(watch);
}

let staleBefore = "";

// Marks what is no longer updated, and says since when.
function drawStale(now) {
  const topics = watch.freshness.staleSince(now);
  const gateway = watch.status.gateway?.freshness.staleSince(now) ?? null;
  const oldest = Math.min(topics ?? Infinity, gateway ?? Infinity);
  for (const [id, since] of [["total-rate", topics], ["total-topics", topics], ["total-clients", gateway], ["topics-list", topics]]) {
    byId(id).toggleAttribute("data-stale", since !== null);
  }
  for (const [id, since] of [["totals-stale", oldest], ["topics-stale", topics ?? Infinity]]) {
    byId(id).hidden = since === Infinity;
    if (since !== Infinity) setText(byId(id), asOf(since));
  }
  const stale = watch.status.freshnesses().map((each) => each.staleSince(now)).join();
  if (stale !== staleBefore) drawStatus();
  staleBefore = stale;
}

// Without a subscription: offers patterns by the first tokens of the busiest topics.
function drawOffers() {
  if (active()) return;
  const names = watch.topics.list("", "rate").slice(0, 500).map((topic) => topic.name);
  const patterns = [...new Set(names.map((name) => (name.includes(".") ? `${name.split(".")[0]}.>` : name)))].slice(0, 6);
  const box = byId("offers");
  if ([...box.children].map((each) => each.textContent).join() === patterns.join()) return;
  box.replaceChildren(...patterns.map((pattern) => make("button", {
    type: "button", text: pattern, onclick: () => subscribe(withLast(pattern)),
  })));
}

let turns = 0;

// Draws everything received since the last turn.
function turn() {
  turns += 1;
  const now = performance.now();
  for (const subscription of screen.subscriptions) {
    const items = subscription.takeRows();
    if (subscription === active()) eventsView.add(items);
  }
  if (document.hidden) return;
  drawConnection();
  drawStale(now);
  subscriptionsView.refresh(now);
  const subscription = active();
  if (!subscription) return;
  subscriptionsView.head(subscription);
  eventsView.showRate(subscription, now);
  if (screen.view === "chart" && !screen.field && subscription.fields.length > 0) plot();
  subscriptionsView.fields(subscription, screen.field);
  if (subscription.chart && (!reducedMotion.matches || turns % REDUCED_MOTION_TURNS === 0)) {
    chartView.draw(subscription, watch.brokerNow() / 1000);
  }
}

function retryNow() {
  watch.retryNow();
  for (const subscription of screen.subscriptions) subscription.retryNow();
}

function bind() {
  byId("connection").addEventListener("click", retryNow);
  addEventListener("online", retryNow);
  byId("topic-search").addEventListener("input", ({ target }) => find(target.value));
  byId("topic-sort").addEventListener("change", ({ target }) => sortBy(target.value));
  byId("as-text").addEventListener("click", () => setView("text"));
  byId("as-chart").addEventListener("click", () => setView("chart"));
  byId("chart-field").addEventListener("change", ({ target }) => {
    screen.field = target.value;
    setView(target.value ? "chart" : "text");
  });
  byId("chart-window").addEventListener("change", ({ target }) => {
    screen.window = Number(target.value);
    setView("chart");
  });
  byId("pause").addEventListener("click", () => pause(!eventsView.paused));
  byId("clear").addEventListener("click", clear);
  byId("help-open").addEventListener("click", () => byId("help").showModal());
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault();
    focus("events", "events-title");
  });
  for (const button of document.querySelectorAll(".places button")) {
    button.addEventListener("click", () => goTo(button.dataset.place));
  }
  document.addEventListener("visibilitychange", () => { if (!document.hidden) watch.refresh(); });
  // The user edited the hash or navigated back.
  addEventListener("hashchange", () => { if (location.hash !== hashNow()) restore(); });
  startKeys([
    [["/"], "search topics", () => focus("topics", "topic-search")],
    [["s"], "subscribe", () => focus("events", "sub-pattern")],
    [["p"], "publish", () => focus("publish", "pub-topic")],
    [["e"], "go to the events", () => focus("events", "events")],
    [["1", "2", "3", "4", "5", "6", "7", "8", "9"], "show a subscription", (key) => choose(Number(key) - 1)],
    [["x"], "unsubscribe from the one shown", () => close(screen.tab)],
    [["t"], "show events as text", () => setView("text")],
    [["c"], "show a chart", () => setView("chart")],
    [[" "], "pause or continue the display", () => pause(!eventsView.paused)],
    [["l"], "clear the rows", clear],
    [["y"], "copy the command", () => commandView.copy()],
    [["d"], "switch the theme: system, dark, light", () => byId("theme").click()],
    [["?"], "show these shortcuts", () => byId("help").showModal()],
  ]);
}

function focus(place, id) {
  goTo(place);
  byId(id).focus();
}

function find(text) {
  screen.find = text;
  watch.find(text);
  topicsView.find(text, screen.sort);
  keepHash();
}

function sortBy(sort) {
  screen.sort = sort;
  topicsView.find(screen.find, sort);
  keepHash();
}

// Makes the page show what the hash contains.
function restore() {
  const wanted = readHash(location.hash);
  for (const subscription of screen.subscriptions) subscription.close();
  Object.assign(screen, wanted, { subscriptions: [] });
  for (const request of wanted.requests) open(request);
  byId("topic-search").value = screen.find;
  byId("topic-sort").value = screen.sort;
  watch.find(screen.find);
  topicsView.find(screen.find, screen.sort);
  goTo(screen.place || "events");
  showActive();
}

bind();
startTheme(() => { chartView.reset(); topicsView.redraw(); });
restore();
signInView.draw();
pollStatus(watch.status, credentials, drawStatus);
setInterval(turn, TURN_MS);

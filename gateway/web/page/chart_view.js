// A numeric field of a subscription's events over time: one line per topic, interrupted and shaded where events are
// missing.

import uPlot from "./vendor/uPlot.esm.js";
import { LINES_MAX, axisRange, pointsToDraw } from "./series.js";
import { HISTORY_EVENTS_MAX } from "./history.js";
import { clock, count } from "./format.js";
import { byId, colour, make, setText } from "./dom.js";

const font = "12px system-ui, sans-serif";
const twoDigits = (number) => String(number).padStart(2, "0");
const number = (value) => (value === null || value === undefined ? "–" :
  Math.abs(value) >= 1e6 || (value !== 0 && Math.abs(value) < 1e-3) ? value.toExponential(3) :
    Number(value.toPrecision(7)).toLocaleString("en-GB", { maximumFractionDigits: 6 }));

function timeText(seconds, step) {
  const date = new Date(seconds * 1000);
  const minutes = `${twoDigits(date.getHours())}:${twoDigits(date.getMinutes())}`;
  return step >= 60 ? minutes : `${minutes}:${twoDigits(date.getSeconds())}`;
}

export class ChartView {
  #box = byId("chart");
  #plot = null;
  #key = "";
  #chart = null;
  #range = [0, 1];
  #values = [];

  constructor() {
    new ResizeObserver(() => this.#fit()).observe(this.#box);
  }

  // Draws the chart of `subscription`. The axis ends at `nowS`, the broker's time.
  draw(subscription, nowS) {
    const { chart, field } = subscription;
    this.#chart = chart;
    const { topics } = chart;
    const key = JSON.stringify([topics, field]);
    const data = topics.length > 0 ? uPlot.join(chart.tables()) : [[]];
    const end = Math.max(nowS, chart.newestS);
    this.#range = axisRange(chart.extent(end - chart.windowS, end));
    if (key !== this.#key || !this.#plot) {
      this.#key = key;
      this.#make(topics, data);
    }
    this.#plot.batch(() => {
      this.#plot.setData(data, false);
      this.#plot.setScale("x", { min: end - chart.windowS, max: end });
    });
    this.#describe(subscription, end);
  }

  // For another subscription, field or theme: the next draw() starts over.
  reset() {
    this.#plot?.destroy();
    this.#plot = null;
    this.#key = "";
    byId("legend").replaceChildren();
  }

  #make(topics, data) {
    this.#plot?.destroy();
    const lines = { stroke: colour("line"), width: 1 };
    const axis = { stroke: colour("soft"), font, grid: lines, ticks: lines };
    this.#plot = new uPlot({
      width: Math.max(100, this.#box.clientWidth),
      height: Math.max(120, this.#box.clientHeight),
      legend: { show: false },
      scales: { x: { time: true, auto: false }, y: { auto: true, range: () => this.#range } },
      cursor: { drag: { x: false, y: false } },
      axes: [
        { ...axis, space: 80, values: (_, splits) => splits.map((at) => timeText(at, splits[1] - splits[0])) },
        { ...axis, size: 64, values: (_, splits) => splits.map(number) },
      ],
      series: [{}, ...topics.map((_, index) => ({
        stroke: colour(`s${index}`), width: 1.5, spanGaps: false,
        points: { show: false, size: 5, fill: colour(`s${index}`), filter: (plot, at) => pointsToDraw(plot.data[at]) },
      }))],
      hooks: { drawClear: [(plot) => this.#shade(plot)], setCursor: [() => this.#legend()] },
    }, data, this.#box);
    this.#values = topics.map((topic, index) => make("b", { "data-series": index }));
    byId("legend").replaceChildren(...topics.map((topic, index) => make("li",
      { class: `s${index}`, "data-testid": "chart-line" },
      make("span", { class: "swatch", "aria-hidden": "true" }), make("span", { class: "name", text: topic, title: topic }),
      this.#values[index])));
  }

  // Shades where events are missing: from the last one before to the first one after.
  #shade(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.fillStyle = colour("bad-soft");
    ctx.strokeStyle = colour("bad");
    ctx.setLineDash([4, 4]);
    for (const mark of this.#chart?.marks ?? []) {
      const from = Math.max(bbox.left, plot.valToPos(mark.from, "x", true));
      const right = bbox.left + bbox.width;
      const to = mark.to === null ? right : Math.min(right, plot.valToPos(mark.to, "x", true));
      if (to < bbox.left || from > right) continue;
      ctx.fillRect(from, bbox.top, Math.max(2, to - from), bbox.height);
      ctx.beginPath();
      ctx.moveTo(from, bbox.top);
      ctx.lineTo(from, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }

  // Shows the values under the cursor, or else the newest.
  #legend() {
    if (!this.#plot) return;
    const { idx } = this.#plot.cursor;
    this.#values.forEach((element, index) => {
      const values = this.#plot.data[index + 1] ?? [];
      let at = idx ?? values.length - 1;
      while (at > 0 && (values[at] === undefined || values[at] === null)) --at;
      setText(element, number(values[at]));
    });
  }

  #describe({ chart, field, state, stateAt, historyCut }, end) {
    const { topics } = chart;
    this.#legend();
    const isStale = state === "waiting" || state === "away";
    byId("legend").toggleAttribute("data-stale", isStale);
    const whose = topics.length === 1 ? topics[0] : `${topics.length} topics`;
    this.#box.setAttribute("aria-label", `${field} of ${whose}; ${chart.marks.length} gaps`);
    this.#box.dataset.gaps = chart.marks.length;
    this.#box.dataset.points = this.#plot.data.slice(1).flat().filter((value) => typeof value === "number").length;
    const notes = [];
    if (chart.topicsOmitted > 0) notes.push(`Limit of ${LINES_MAX} lines reached: ${chart.topicsOmitted} more topics are not drawn.`);
    const slice = chart.sliceS < 1 ? `${Math.round(chart.sliceS * 1000)} ms` : `${chart.sliceS} s`;
    notes.push(`The chart shows the minimum and maximum of each ${slice}.`);
    if (chart.marks.length > 0) notes.push("Shaded: events are missing.");
    if (historyCut) notes.push(`The history of this time is longer than ${count(HISTORY_EVENTS_MAX)} events: some are not drawn.`);
    if (topics.length === 0) notes.unshift(`No event with ${field} yet.`);
    else if (chart.newestS < end - chart.windowS) {
      notes.unshift(`No event in this time: the last one came at ${clock(chart.newestS * 1000).slice(0, 8)}.`);
    }
    if (isStale) notes.unshift(`Nothing new since ${clock(stateAt).slice(0, 8)}.`);
    setText(byId("chart-note"), notes.join(" "));
  }

  #fit() {
    if (!this.#plot || this.#box.clientWidth < 50) return;
    this.#plot.setSize({ width: this.#box.clientWidth, height: this.#box.clientHeight });
  }
}

// A numeric field of a subscription's events over time: one line per topic, interrupted and shaded where events are
// missing.

import uPlot from "./vendor/uPlot.esm.js";
import { LINES_MAX } from "./series.js";
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
  #values = [];

  constructor() {
    new ResizeObserver(() => this.#fit()).observe(this.#box);
  }

  // Draws `chart` (series.js), whose lines are of `field`.
  draw(chart, field, nowS) {
    this.#chart = chart;
    const { topics } = chart;
    const key = JSON.stringify([topics, field]);
    const data = topics.length > 0 ? uPlot.join(chart.tables()) : [[]];
    const end = nowS - chart.newestS < chart.windowS && nowS > chart.newestS ? nowS : chart.newestS || nowS;
    if (key !== this.#key || !this.#plot) {
      this.#key = key;
      this.#make(topics, data);
    }
    this.#plot.batch(() => {
      this.#plot.setData(data, false);
      this.#plot.setScale("x", { min: end - chart.windowS, max: end });
    });
    this.#describe(topics, field, chart);
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
      scales: { x: { time: true, auto: false }, y: { auto: true } },
      cursor: { drag: { x: false, y: false } },
      axes: [
        { ...axis, space: 80, values: (_, splits) => splits.map((at) => timeText(at, splits[1] - splits[0])) },
        { ...axis, size: 64, values: (_, splits) => splits.map(number) },
      ],
      series: [{}, ...topics.map((_, index) => ({
        stroke: colour(`s${index}`), width: 1.5, spanGaps: false, points: { size: 4 },
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

  #describe(topics, field, chart) {
    this.#legend();
    const whose = topics.length === 1 ? topics[0] : `${topics.length} topics`;
    this.#box.setAttribute("aria-label", `${field} of ${whose}; ${chart.marks.length} gaps`);
    this.#box.dataset.gaps = chart.marks.length;
    const notes = [];
    if (chart.topicsOmitted > 0) notes.push(`Limit of ${LINES_MAX} lines reached: ${chart.topicsOmitted} more topics are not drawn.`);
    const slice = chart.sliceS < 1 ? `${Math.round(chart.sliceS * 1000)} ms` : `${chart.sliceS} s`;
    notes.push(`The chart shows the minimum and maximum of each ${slice}.`);
    if (chart.marks.length > 0) notes.push("Shaded: events are missing.");
    if (topics.length === 0) notes.unshift(`No event with ${field} yet.`);
    setText(byId("chart-note"), notes.join(" "));
  }

  #fit() {
    if (!this.#plot || this.#box.clientWidth < 50) return;
    this.#plot.setSize({ width: this.#box.clientWidth, height: this.#box.clientHeight });
  }
}

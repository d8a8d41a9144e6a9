/** Curves over width as SVG: axes, legend, marker that follows the slider, values under the pointer. */

import { html, onResize, svg } from "./dom.js";

const HEIGHT = 280;
const MARGIN = { left: 52, right: 12, top: 8, bottom: 42 };
const LETTER = 7; // pixels of a digit of a tick's label
const DASHES = { dash: "7 4", dot: "2 4", dashdot: "7 4 2 4", longdash: "12 5" };
const SYMBOLS = {
  circle: "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0",
  square: "M-3-3h6v6h-6z",
  diamond: "M0-4.5L4.5 0L0 4.5L-4.5 0z",
  cross: "M-1.3-4h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7v-2.6h2.7z",
  "triangle-up": "M0-4.2L4 3h-8z",
  x: "M-3.6-2.4l1.2-1.2L0-1.2L2.4-3.6L3.6-2.4L1.2 0L3.6 2.4L2.4 3.6L0 1.2L-2.4 3.6L-3.6 2.4L-1.2 0z",
};

/** Return ticks at round numbers, about so many. */
function roundTicks(low, high, about) {
  const rough = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** Return the ticks that have room, the last one always. */
function withRoom(ticks, place) {
  const kept = [];
  let edge = Infinity;
  for (const tick of [...ticks].reverse()) {
    const half = (`${tick}`.length * LETTER) / 2 + 3;
    if (place(tick) + half > edge) continue;
    edge = place(tick) - half;
    kept.unshift(tick);
  }
  return kept;
}

function stroke({ color, dash }) {
  return { stroke: color, fill: "none", "stroke-width": 2, "stroke-dasharray": DASHES[dash] };
}

function mark({ symbol, color }, x, y, large = 1) {
  const transform = `translate(${x} ${y}) scale(${large})`;
  return svg("path", { d: SYMBOLS[symbol] ?? SYMBOLS.circle, transform, fill: color });
}

/** Return a curve's look as it stands in a legend. */
export function swatch(each) {
  const line = each.points ? [] : [svg("path", { d: "M0 6h28", ...stroke(each) })];
  return svg("svg", { width: 28, height: 12, "aria-hidden": "true" }, ...line, mark(each, 14, 6));
}

/**
 * Curves, levels, and points with whiskers; `spec.by` names the control that the marker follows,
 * `spec.picked` the choices that say which are shown, and tell what they are called.
 */
export function curve(spec, instrument) {
  const { x: across, y: up, series, by, picked } = spec;
  const hidden = new Set();
  const frame = svg("svg", { height: HEIGHT, role: "img", "aria-label": `${up.label} against ${across.label}` });
  const tip = html("div", { class: "vsnn-tip", hidden: "" });
  const holder = html("div", { class: "vsnn-plot" }, frame, tip);
  const element = html("div", { class: "vsnn-curve" }, ...(picked ? [] : [legend()]), holder);
  let marker = null;
  let chosen = null;
  let scale = null;

  const measure = across.scale === "log2" ? Math.log2 : Number;
  const values = (each) => (typeof each.y === "string" ? instrument.array(each.y) : each.y);

  function legend() {
    const keys = series.map((each) => html("li", { title: each.name }, swatch(each), each.name));
    return html("ul", { class: "vsnn-legend" }, ...keys);
  }

  function draw(width) {
    const [left, right] = [MARGIN.left, width - MARGIN.right];
    const height = spec.height ?? HEIGHT;
    const [top, bottom] = [MARGIN.top, height - MARGIN.bottom];
    const along = (value) => {
      const [low, high] = across.range.map(measure);
      return left + ((measure(value) - low) / (high - low)) * (right - left);
    };
    const above = (value) => bottom - ((value - up.range[0]) / (up.range[1] - up.range[0])) * (bottom - top);
    scale = { along, above, left, right, top, bottom };
    const ticks = across.ticks ?? roundTicks(...across.range, 6);
    const axes = [
      ...roundTicks(...up.range, 5).flatMap((tick) => [
        svg("path", { class: "vsnn-grid", d: `M${left} ${above(tick)}H${right}` }),
        svg("text", { x: left - 6, y: above(tick) + 4, "text-anchor": "end" }, tick),
      ]),
      ...withRoom(ticks, along).flatMap((tick) => [
        svg("path", { class: "vsnn-grid", d: `M${along(tick)} ${top}V${bottom + 4}` }),
        svg("text", { x: along(tick), y: bottom + 18, "text-anchor": "middle" }, tick),
      ]),
      svg("text", { x: (left + right) / 2, y: height - 4, "text-anchor": "middle" }, across.label),
      svg("text", { transform: `translate(12 ${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, up.label),
    ];
    const lines = series.filter((each) => !hidden.has(each.name)).flatMap(drawSeries);
    const stem = svg("path", { class: "vsnn-stem" });
    const rings = followed().map(() => svg("circle", { class: "vsnn-ring", r: 8 }));
    marker = { stem, rings };
    frame.setAttribute("width", width);
    frame.setAttribute("height", height);
    frame.setAttribute("viewBox", `0 0 ${width} ${height}`);
    frame.replaceChildren(...axes, ...lines, stem, ...rings);
    show(instrument.positions);
  }

  function drawSeries(each) {
    const { along, above, left, right } = scale;
    if (each.level !== undefined) return [svg("path", { d: `M${left} ${above(each.level)}H${right}`, ...stroke(each) })];
    const y = values(each);
    const points = each.x.map((value, i) => [along(value), above(y[i])]);
    const shapes = [];
    if (!each.points) shapes.push(svg("path", { d: `M${points.map((p) => p.join(" ")).join("L")}`, ...stroke(each) }));
    if (each.low) {
      const whiskers = points.map(([x], i) => `M${x} ${above(each.low[i])}V${above(each.high[i])}`);
      shapes.push(svg("path", { d: whiskers.join(""), ...stroke(each), "stroke-width": 1.5 }));
    }
    // Marks tell curves apart in grey, but 256 of them would be a smear.
    if (each.points || points.length <= 40) shapes.push(...points.map((p) => mark(each, ...p, each.points ? 1.3 : 0.9)));
    return shapes;
  }

  function followed() {
    return series.filter((each) => each.follow && !hidden.has(each.name));
  }

  function show(positions) {
    if (picked && positions[picked] !== chosen) {
      chosen = positions[picked];
      hide(series.filter((_, index) => !chosen.includes(index)).map((each) => each.name));
    }
    if (!marker || by === undefined) return;
    const width = instrument.value(by, positions);
    const { along, above, bottom } = scale;
    const heights = followed().map((each) => values(each)[each.x.indexOf(width)]);
    const highest = Math.min(bottom, ...heights.filter(Number.isFinite).map(above));
    marker.stem.setAttribute("d", `M${along(width)} ${bottom}V${highest}`);
    marker.rings.forEach((ring, i) => {
      ring.setAttribute("visibility", Number.isFinite(heights[i]) ? "visible" : "hidden");
      if (Number.isFinite(heights[i])) ring.setAttribute("transform", `translate(${along(width)} ${above(heights[i])})`);
    });
  }

  /** Return the width of the curves that is nearest to the pointer. */
  function pointed(event) {
    const x = event.clientX - frame.getBoundingClientRect().left;
    const all = new Set(series.flatMap((each) => each.x ?? []));
    return [...all].reduce((best, width) =>
      Math.abs(scale.along(width) - x) < Math.abs(scale.along(best) - x) ? width : best);
  }

  frame.addEventListener("pointermove", (event) => {
    const width = pointed(event);
    const said = series.filter((each) => !hidden.has(each.name)).flatMap((each) => {
      const value = each.level ?? values(each)[each.x.indexOf(width)];
      return Number.isFinite(value) ? [html("div", {}, `${each.name}: ${Number(value.toPrecision(4))}`)] : [];
    });
    tip.replaceChildren(html("b", {}, `${across.unit ?? "width"} ${width}`), ...said);
    tip.hidden = false;
    const room = frame.clientWidth - tip.offsetWidth;
    tip.style.left = `${Math.max(0, Math.min(room, scale.along(width) + 12))}px`;
  });
  frame.addEventListener("pointerleave", () => { tip.hidden = true; });
  if (by !== undefined) {
    frame.addEventListener("click", (event) => instrument.move(by, instrument.nearest(by, pointed(event))));
  }

  /** Show only the series that are not among these names. */
  function hide(names) {
    hidden.clear();
    names.forEach((name) => hidden.add(name));
    if (scale) draw(frame.clientWidth);
  }

  return { element, show, hide, dispose: onResize(holder, draw) };
}

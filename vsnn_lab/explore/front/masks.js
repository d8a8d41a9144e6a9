/** A prefix mask, sample by sample, and beside it how many samples train each unit. */

import { html, onResize } from "./dom.js";

const CELL = 7; // pixels from which on cells have gaps

/** `source` holds the width of each sample; `rows` and `columns` name the controls of the sizes. */
export function mask(spec, instrument) {
  const { source, rows, columns, most, color } = spec;
  const [cells, bars] = ["which units each sample keeps", "share of samples that train each unit"]
    .map((label) => html("canvas", { role: "img", "aria-label": label }));
  const ticks = [1, ...[1, 2, 3, 4].map((quarter) => Math.round((quarter * most) / 4))];
  const counted = [...new Set(ticks)].filter(Boolean).map((tick) => [(tick - 0.5) / most, tick]);
  const shares = [[0, "100 %"], [0.5, "50 %"], [1, "0 %"]];
  const element = html("div", { class: "vsnn-masks" },
    plot("sample", counted, cells), plot("samples that train the unit", shares, bars));
  let drawn = null;

  function plot(title, up, canvas) {
    const labels = (side, at) => html("div", { class: `vsnn-axis-${side}`, "aria-hidden": "true" },
      ...at.map(([share, text]) => {
        const label = html("span", {}, text);
        label.style.setProperty("--at", `${100 * share}%`);
        return label;
      }));
    return html("figure", { class: "vsnn-mask" }, html("span", { class: "vsnn-track" }, title),
      labels("left", up), canvas, labels("below", counted), html("figcaption", {}, "unit"));
  }

  /** Return a context over a canvas of as many pixels as the screen has there. */
  function clear(canvas) {
    const scale = window.devicePixelRatio || 1;
    [canvas.width, canvas.height] = [canvas.clientWidth, canvas.clientHeight].map((size) => Math.round(size * scale));
    return canvas.getContext("2d");
  }

  function draw(positions) {
    const [batch, units] = [rows, columns].map((name) => instrument.value(name, positions));
    const widths = drawn.subarray(0, batch);
    drawCells(clear(cells), widths, units);
    drawBars(clear(bars), widths, units);
  }

  function drawCells(context, widths, units) {
    const size = context.canvas.width / most;
    const gap = size >= CELL ? 1 : 0;
    widths.forEach((width, row) => {
      for (let unit = 0; unit < units; unit += 1) {
        // Left out is a tint rather than nothing, so that the batch shows its size.
        context.fillStyle = unit < width ? color : "rgba(128, 132, 138, 0.25)";
        const [left, top] = [Math.round(unit * size), Math.round(row * size)];
        context.fillRect(left, top, Math.round((unit + 1) * size) - left - gap, Math.round((row + 1) * size) - top - gap);
      }
    });
  }

  function drawBars(context, widths, units) {
    const { width, height } = context.canvas;
    const size = width / most;
    context.fillStyle = "rgba(128, 132, 138, 0.5)";
    for (const line of [0, height / 2, height - 1]) context.fillRect(0, line, width, 1);
    context.fillStyle = color;
    for (let unit = 0; unit < units; unit += 1) {
      const share = widths.reduce((sum, own) => sum + (own > unit), 0) / widths.length;
      const left = Math.round(unit * size);
      context.fillRect(left, height * (1 - share), Math.round((unit + 1) * size) - left - (size >= CELL ? 1 : 0), height * share);
    }
  }

  function show(positions) {
    const next = instrument.slice(source, positions);
    if (next === drawn || !cells.clientWidth) return;
    drawn = next;
    draw(positions);
  }

  const stop = onResize(element, () => {
    drawn = null;
    show(instrument.positions);
  });
  return { element, show, dispose: stop };
}

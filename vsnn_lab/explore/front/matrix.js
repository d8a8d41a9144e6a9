/** A confusion matrix: counts of true classes (rows) by predicted class, as shares of a row. */

import { html } from "./dom.js";

const INK = [43, 131, 198];

/** A square of cells, darker for larger shares; the pointer and the keys read a cell. */
export function matrix(spec, instrument) {
  const { names, source } = spec;
  const count = names.length;
  const canvas = html("canvas", { width: count, height: count, role: "img", "aria-label": spec.label });
  const said = html("p", { class: "vsnn-note" }, spec.label);
  // Beyond some classes not every name has room.
  const step = Math.ceil(count / 20);
  const labels = (side) => html("div", { class: `vsnn-${side}`, "aria-hidden": "true" },
    ...names.map((name, i) => html("span", {}, i % step ? "" : name)));
  const square = html("div", { class: "vsnn-square" }, labels("left"), canvas, labels("below"));
  square.style.setProperty("--count", count);
  const element = html("div", { class: "vsnn-matrix" }, said, square);
  let cells = null;

  function show(positions) {
    const counts = instrument.slice(source, positions);
    if (counts === cells) return;
    cells = counts;
    const context = canvas.getContext("2d");
    const image = context.createImageData(count, count);
    for (let row = 0; row < count; row += 1) {
      const total = Math.max(1, sum(row));
      for (let column = 0; column < count; column += 1) {
        const place = 4 * (row * count + column);
        image.data.set(INK, place);
        // Shares of a row are mostly near 0 or near 1, and the small ones are what there is to see.
        image.data[place + 3] = 255 * Math.sqrt(counts[row * count + column] / total);
      }
    }
    context.putImageData(image, 0, 0);
  }

  function sum(row) {
    return cells.subarray(row * count, (row + 1) * count).reduce((all, each) => all + each, 0);
  }

  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    const at = (from, size) => Math.min(count - 1, Math.max(0, Math.floor((from / size) * count)));
    const column = at(event.clientX - box.left, box.width);
    const row = at(event.clientY - box.top, box.height);
    const share = cells[row * count + column] / Math.max(1, sum(row));
    said.textContent = `${names[row]} taken for ${names[column]}: ${(100 * share).toFixed(1)} %`;
  });
  canvas.addEventListener("pointerleave", () => { said.textContent = spec.label; });
  return { element, show };
}

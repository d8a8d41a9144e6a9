/** A confusion matrix: counts of true classes (rows) by predicted class, as shares of a row. */

import { html } from "./dom.js";

const INK = [43, 131, 198];
const NAMES_A_SIDE = 12; // that have room along a side
const CELL_STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** A square of cells, darker for larger shares; the pointer and the arrow keys read a cell. */
export function matrix(spec, instrument) {
  const { names, short, source } = spec;
  const count = names.length;
  const canvas = html("canvas", { width: count, height: count, role: "img", tabindex: 0 });
  canvas.setAttribute("aria-label", `confusion matrix, ${spec.label}; arrow keys read a cell`);
  canvas.setAttribute("data-lm-suppress-shortcuts", "true");
  const said = html("p", { class: "vsnn-note", "aria-live": "polite" });
  const ring = html("span", { class: "vsnn-cell", hidden: "" });
  const step = Math.ceil(count / NAMES_A_SIDE);
  const labels = (side) => html("div", { class: `vsnn-${side}`, "aria-hidden": "true" },
    ...names.map((name, i) => (i % step ? html("span") : html("span", { title: name }, short[i]))));
  const cellsOf = html("div", { class: "vsnn-cells" }, canvas, ring);
  const square = html("div", { class: "vsnn-square" }, labels("left"), cellsOf, labels("below"));
  square.style.setProperty("--count", count);
  const element = html("div", { class: "vsnn-matrix" }, said, square);
  const context = canvas.getContext("2d");
  const image = context.createImageData(count, count);
  for (let place = 0; place < image.data.length; place += 4) image.data.set(INK, place);
  let [cells, chosen] = [null, null];

  const total = (row) =>
    cells.subarray(row * count, (row + 1) * count).reduce((all, each) => all + each, 0);

  function show(positions) {
    const held = instrument.slice(source, positions);
    if (held === cells) return;
    cells = held;
    for (let row = 0, place = 0; row < count; row += 1) {
      const all = Math.max(1, total(row));
      for (const end = place + count; place < end; place += 1) {
        // Shares of a row are mostly near 0 or near 1, and the small ones are what there is to see.
        image.data[4 * place + 3] = 255 * Math.sqrt(cells[place] / all);
      }
    }
    context.putImageData(image, 0, 0);
    read(chosen);
  }

  /** Say what a cell holds, or what all of them are. */
  function read(cell) {
    chosen = cell;
    ring.hidden = !cell;
    said.textContent = spec.label;
    if (!cell) return;
    const [row, column] = cell;
    const [own, all] = [cells[row * count + column], total(row)];
    const share = ((100 * own) / Math.max(1, all)).toFixed(1);
    said.textContent = `${names[row]} taken for ${names[column]}: ${share} % (${own} of ${all})`;
    ring.style.inset = `${(100 * row) / count}% auto auto ${(100 * column) / count}%`;
  }

  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    const at = (from, size) => Math.min(count - 1, Math.max(0, Math.floor((from / size) * count)));
    read([at(event.clientY - box.top, box.height), at(event.clientX - box.left, box.width)]);
  });
  canvas.addEventListener("keydown", (event) => {
    const move = CELL_STEPS[event.key];
    if (!move) return;
    event.preventDefault();
    const within = (place) => Math.min(count - 1, Math.max(0, place));
    read(chosen ? chosen.map((place, i) => within(place + move[i])) : [0, 0]);
  });
  for (const end of ["pointerleave", "blur"]) canvas.addEventListener(end, () => read(null));
  return { element, show };
}

/** A pad to draw on, or to open an image on, and what becomes of it at the width shown. */

import { denseNetwork } from "./dense.js";
import { html } from "./dom.js";
import { paint } from "./pictures.js";
import { drawingSheet } from "./sheet.js";

const DRAWING_PACE = 100; // milliseconds between two looks at an unfinished stroke
const TOP = 5; // classes

/** Return shares that add up to one. */
function softmax(numbers) {
  const most = numbers.reduce((one, other) => Math.max(one, other));
  const powers = numbers.map((number) => Math.exp(number - most));
  const sum = powers.reduce((all, power) => all + power);
  return powers.map((power) => power / sum);
}

/**
 * `spec`: `shape`, `center` and `paper` as of `drawingSheet`; `by`, the control that is the width;
 * `mode`, "pictures" or "classes", and then `classes`, their names; and `network`, as from
 * `pack_dense`, whose weights are the array "network". A kernel that answers is asked to "draw" the
 * bytes, and puts what it gets at every width into the array "drawn"; else the network is run.
 */
export function pad(spec, instrument) {
  const [channels, height, width] = spec.shape;
  const classifies = spec.mode === "classes";
  const picture = (label) => html("canvas", { width, height, role: "img", "aria-label": label });
  const titled = (canvas, title) => html("figure", {}, canvas, html("figcaption", {}, title));

  const sheet = drawingSheet(spec, changed);
  const input = picture("The drawing as the model takes it");
  const output = picture("What becomes of the drawing at this width");
  const said = html("strong", { "data-readout": classifies ? "drawn class" : "drawn MSE × 1000" });
  const bars = html("ol");
  const result = html("div", { class: "vsnn-drawn" }, ...(classifies
    ? [html("p", {}, "taken for ", said), bars]
    : [titled(output, "at this width"), html("p", {}, "MSE × 1000: ", said)]));
  const file = html("input", { type: "file", accept: "image/*", hidden: "" });
  const [clearing, opening] = [html("button", {}, "Clear"), html("button", { "aria-label": "Open an image" }, "Open…")];
  const note = html("p", { class: "vsnn-note", role: "status" });
  const seen = html("div", {}, titled(input, "what the model sees"), clearing, opening, file);
  const element = html("div", { class: "vsnn-pad", role: "group", "aria-label": "Draw your own" },
    titled(sheet.canvas, "draw here"), seen, result, note);

  let drawn = null; // what the model sees, colours last; nothing before the first stroke
  let [network, local, at] = [null, null, null]; // local: what the network gave, by position
  let [timer, turn, waiting] = [0, 0, false];

  const coloursLast = (from) => from.map(
    (_, i) => from[(i % channels) * height * width + Math.floor(i / channels)]);

  function changed(done) {
    if (done) send();
    else timer ||= setTimeout(() => { timer = 0; if (!waiting) send(); }, DRAWING_PACE);
  }

  /** Send what is drawn through all widths: in the kernel, or here where none answers. */
  function send() {
    forget();
    const [bytes, mine] = [sheet.pixels(), turn];
    drawn = coloursLast(bytes);
    paint(input, drawn, channels);
    wait(true);
    if (instrument.live) local = null;
    const answer = instrument.live ? instrument.ask("draw", {}, [bytes]) : compute(bytes, mine);
    const settle = (error) => {
      if (mine !== turn) return;
      wait(false);
      note.textContent = error?.message ?? "";
    };
    Promise.resolve(answer).then(() => settle(), settle);
  }

  /** Run the network at every width that the instrument shows, unless something else is drawn. */
  async function compute(bytes, mine) {
    network ??= denseNetwork(spec.network, instrument.array("network"));
    const floats = Float32Array.from(bytes, (byte) => byte / 255);
    const { values } = instrument.control(spec.by);
    const found = await network.runAll(floats, values, () => mine !== turn);
    if (mine !== turn) return;
    local = found.map((each) => (classifies
      ? softmax(each)
      : coloursLast(Uint8ClampedArray.from(each, (value) => 255 * value))));
    show(at);
  }

  /** Leave what is under way. */
  function forget() {
    clearTimeout(timer);
    [timer, turn] = [0, turn + 1];
  }

  function wait(busy) {
    waiting = busy;
    result.setAttribute("aria-busy", busy);
  }

  function clear() {
    forget();
    wait(false);
    sheet.clear();
    [drawn, local] = [null, null];
    for (const each of [input, output]) each.getContext("2d").clearRect(0, 0, width, height);
    for (const each of [said, note, bars]) each.replaceChildren();
  }

  function open(chosen) {
    sheet.open(chosen).catch((error) => { note.textContent = error.message; });
  }

  function show(positions) {
    at = positions;
    const answered = local || instrument.has("drawn");
    if (!drawn || !answered) return;
    const found = local ? local[positions[spec.by]] : instrument.slice("drawn", positions);
    if (classifies) return showClasses(found);
    paint(output, found, channels);
    const error = found.reduce((sum, value, i) => sum + (value - drawn[i]) ** 2, 0);
    said.textContent = ((1000 * error) / found.length / 255 ** 2).toFixed(2);
  }

  function showClasses(shares) {
    const order = [...shares.keys()].sort((a, b) => shares[b] - shares[a]).slice(0, TOP);
    said.textContent = spec.classes[order[0]];
    bars.replaceChildren(...order.map((index) => {
      const percent = `${(100 * shares[index]).toFixed(1)} %`;
      const bar = html("span", { class: "vsnn-bar", "aria-hidden": "true" });
      bar.style.width = `${100 * shares[index]}%`;
      return html("li", {}, html("span", {}, spec.classes[index]), html("span", {}, percent), bar);
    }));
  }

  element.addEventListener("dragover", (event) => event.preventDefault());
  element.addEventListener("drop", (event) => {
    event.preventDefault(); // the page stays
    event.stopPropagation();
    if (event.dataTransfer.files.length) open(event.dataTransfer.files[0]);
  });
  file.addEventListener("change", () => {
    if (file.files.length) open(file.files[0]);
    file.value = ""; // so that the same file may be chosen again
  });
  clearing.addEventListener("click", clear);
  opening.addEventListener("click", () => file.click());
  clear();
  element.hidden = !instrument.live && !spec.network;
  instrument.onLive(() => { element.hidden = false; });
  return { element, show, dispose: forget };
}

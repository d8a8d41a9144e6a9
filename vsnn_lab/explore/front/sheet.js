/** A sheet to draw on with mouse, pen or finger, or to open an image file on. */

import { html } from "./dom.js";

const SHEET = 280; // pixels, or nearly: a whole number of them for each pixel of the model
const BRUSH = 0.085; // of the sheet: 2.4 pixels of 28, as wide as the strokes of MNIST
const BOX = 20 / 28; // of the sheet: what MNIST's digits are scaled to

/**
 * Return a sheet for images of `shape` [channels, height, width]: its `canvas`; `pixels()`, the
 * model's, channels first; `clear()` and `open(file)`. Drawings are centred as MNIST's digits are
 * if `center` asks for it, files never; `paper` is 0 or 255. `changed(done)` hears of each change,
 * `done` unless a stroke goes on.
 */
export function drawingSheet({ shape: [channels, height, width], center, paper = 0 }, changed) {
  const scale = Math.max(1, Math.round(SHEET / Math.max(height, width)));
  const size = { width: width * scale, height: height * scale };
  const label = "Draw here with mouse, pen or finger, or drop an image file";
  const canvas = html("canvas", { ...size, role: "img", "aria-label": label });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const spare = html("canvas", size).getContext("2d", { willReadFrequently: true });
  let pen = null; // where it is down
  let opened = false;

  function cover(target) {
    target.fillStyle = paper ? "white" : "black";
    target.fillRect(0, 0, size.width, size.height);
  }

  function stroke({ clientX, clientY }) {
    const box = canvas.getBoundingClientRect();
    const x = (clientX - box.left) * (size.width / box.width);
    const y = (clientY - box.top) * (size.height / box.height);
    context.lineWidth = BRUSH * Math.max(size.width, size.height);
    context.lineCap = "round";
    context.strokeStyle = paper ? "black" : "white";
    context.beginPath();
    context.moveTo(...(pen ?? [x, y]));
    context.lineTo(x + 0.01, y); // a line of no length would leave no dot
    context.stroke();
    pen = [x, y];
  }

  const colours = (target) => target.getImageData(0, 0, size.width, size.height).data;

  /** Scale ink to MNIST's box of 20 pixels of 28, and put its centre of mass into the middle. */
  function centred() {
    const data = colours(context);
    let [left, right, top, bottom] = [Infinity, -1, Infinity, -1];
    let [mass, massX, massY] = [0, 0, 0];
    for (let y = 0, i = 0; y < size.height; y += 1) {
      for (let x = 0; x < size.width; x += 1, i += 4) {
        const weight = Math.abs(data[i] - paper);
        if (!weight) continue;
        [left, right] = [Math.min(left, x), Math.max(right, x)];
        [top, bottom] = [Math.min(top, y), y];
        mass += weight;
        massX += weight * (x + 0.5);
        massY += weight * (y + 0.5);
      }
    }
    if (!mass) return data;
    const extent = Math.max(right - left + 1, bottom - top + 1);
    const grow = (BOX * Math.min(size.width, size.height)) / extent;
    const x = size.width / 2 - (grow * massX) / mass;
    const y = size.height / 2 - (grow * massY) / mass;
    cover(spare);
    spare.drawImage(canvas, x, y, grow * size.width, grow * size.height);
    return colours(spare);
  }

  /** Return bytes, channels first: each the mean of the pixels that it covers. */
  function pixels() {
    const data = center && !opened ? centred() : colours(context);
    const sums = new Float64Array(channels * height * width);
    for (let y = 0, i = 0; y < size.height; y += 1) {
      for (let x = 0; x < size.width; x += 1, i += 4) {
        const to = Math.floor(y / scale) * width + Math.floor(x / scale);
        const [red, green, blue] = [data[i], data[i + 1], data[i + 2]];
        if (channels === 1) sums[to] += 0.299 * red + 0.587 * green + 0.114 * blue;
        else [red, green, blue].forEach((each, c) => { sums[c * height * width + to] += each; });
      }
    }
    return Uint8Array.from(sums, (sum) => Math.round(sum / scale ** 2));
  }

  function clear() {
    [pen, opened] = [null, false];
    cover(context);
  }

  /** Put an image file in place of what is drawn, its shape kept. */
  async function open(file) {
    const image = await createImageBitmap(file).catch(() => {
      throw new Error(`${file.name} is not an image that this browser can read`);
    });
    clear();
    opened = true;
    const fit = Math.min(size.width / image.width, size.height / image.height);
    const [w, h] = [fit * image.width, fit * image.height];
    context.imageSmoothingEnabled = fit < 1; // pixels made larger stay sharp
    context.imageSmoothingQuality = "high";
    context.drawImage(image, (size.width - w) / 2, (size.height - h) / 2, w, h);
    image.close();
    changed(true);
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button || !event.isPrimary) return;
    event.preventDefault(); // it neither selects text nor drags the canvas
    canvas.setPointerCapture(event.pointerId);
    stroke(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!pen || !event.isPrimary) return;
    const between = event.getCoalescedEvents?.() ?? [];
    (between.length ? between : [event]).forEach(stroke);
    changed(false);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => {
      if (!pen || !event.isPrimary) return;
      pen = null;
      changed(true);
    });
  }
  clear();
  return { canvas, pixels, clear, open };
}

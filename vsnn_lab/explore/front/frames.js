/** Frames of an animation: a sheet of pictures for each position of a control, decoded once. */

import { playButton, setPlaying } from "./controls.js";
import { html } from "./dom.js";

/**
 * Tracks of frames beside each other, all at the same time step. `source` is an array of encoded
 * sheets by the control `by`, `lengths` one of their bytes; a sheet has `columns` frames in a line.
 * A track with `last` stays at the control's last position. `rate` is in frames a second.
 */
export function frames(spec, instrument) {
  const { by, source, lengths, count, columns, rate, tracks, size: [height, width] } = spec;
  const most = instrument.control(by).values.length - 1;
  const rest = Math.round(rate / 2); // frames for which the last one stays before the first
  const sheets = new WeakMap(); // by their bytes, decoded or about to be
  let [step, running, since] = [0, null, 0];

  const shown = tracks.map(({ label, last }) => {
    const canvas = html("canvas", { width, height, role: "img", "aria-label": label });
    return { canvas, last, context: canvas.getContext("2d"), drawn: null, step: null };
  });
  const figures = shown.map(({ canvas }, i) =>
    html("figure", {}, html("span", { class: "vsnn-track" }, tracks[i].label), canvas));
  const play = playButton("Play the frames");
  const slider = html("input", { type: "range", min: 0, max: count - 1, step: 1, "aria-label": "time" });
  const time = html("span", { class: "vsnn-number", "data-readout": "time" });
  const label = html("span", { class: "vsnn-label", "aria-hidden": "true" }, "time");
  const line = html("div", { class: "vsnn-width" }, play, label, slider, time);
  const note = html("p", { class: "vsnn-note" }, spec.note);
  const element = html("div", { class: "vsnn-frames", "aria-busy": "true" }, ...figures, line, note);

  /** Have the sheet of a position decoded, the first time that it is asked for. */
  function decode(index) {
    const at = { ...instrument.positions, [by]: index };
    const bytes = instrument.slice(source, at);
    if (!sheets.has(bytes)) {
      const found = { bitmap: null };
      const whole = bytes.subarray(0, instrument.slice(lengths, at)[0]);
      found.done = createImageBitmap(new Blob([whole])).then(
        (bitmap) => { found.bitmap = bitmap; draw(); },
        () => instrument.say("the browser cannot decode the frames"));
      sheets.set(bytes, found);
    }
    return sheets.get(bytes);
  }

  function draw() {
    for (const each of shown) {
      const found = decode(each.last ? most : instrument.positions[by]).bitmap;
      // Until it is decoded the frame before stays.
      if (!found || (found === each.drawn && step === each.step)) continue;
      [each.drawn, each.step] = [found, step];
      const [left, top] = [(step % columns) * width, Math.floor(step / columns) * height];
      each.context.drawImage(found, left, top, width, height, 0, 0, width, height);
    }
  }

  function seek(to) {
    step = to;
    slider.value = step;
    slider.style.setProperty("--share", step / Math.max(1, count - 1));
    time.textContent = `${(step / rate).toFixed(2)} s`;
    slider.setAttribute("aria-valuetext", time.textContent);
    draw();
  }

  function run(on) {
    cancelAnimationFrame(running);
    since = performance.now() - (step * 1000) / rate;
    running = on ? requestAnimationFrame(tick) : null;
    setPlaying(play, on);
  }

  function tick(now) {
    const passed = Math.max(0, Math.floor(((now - since) * rate) / 1000));
    const next = Math.min(count - 1, passed % (count + rest));
    if (next !== step) seek(next);
    running = requestAnimationFrame(tick);
  }

  play.addEventListener("click", () => run(running === null));
  slider.addEventListener("input", () => { run(false); seek(Number(slider.value)); });
  // All at once, so that a move later on finds its sheet decoded.
  Promise.all(Array.from({ length: most + 1 }, (_, index) => decode(index).done))
    .then(() => element.setAttribute("aria-busy", "false"));
  seek(0);
  // Whoever asked for less motion starts it by hand.
  run(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  return { element, show: draw, dispose: () => run(false) };
}

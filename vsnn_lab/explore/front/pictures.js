/** Pictures: a canvas each, at the pixels of the data; the page makes them larger, never smoother. */

import { html } from "./dom.js";

// Lightness rises all the way from darker through unchanged to brighter, so that signs can be told
// apart in greyscale and with any colour vision, as in figures/diverging.py.
const STOPS = [[12, 44, 110], [63, 120, 181], [138, 141, 145], [227, 154, 60], [255, 232, 176]];

/** Return the colour of a signed share in [-1, 1]. */
function diverging(share) {
  const place = (Math.min(1, Math.max(-1, share)) + 1) * 2;
  const low = Math.min(3, Math.floor(place));
  return STOPS[low].map((from, i) => from + (STOPS[low + 1][i] - from) * (place - low));
}

/** Put pixels, of one or three channels, into a canvas. */
export function paint(canvas, pixels, channels) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  for (let from = 0, to = 0; to < image.data.length; from += channels, to += 4) {
    image.data[to] = pixels[from];
    image.data[to + 1] = pixels[channels > 1 ? from + 1 : from];
    image.data[to + 2] = pixels[channels > 1 ? from + 2 : from];
    image.data[to + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

/** Put the difference of two pictures into a canvas, in colours. */
function paintDifference(canvas, one, other, channels, limit) {
  const colours = new Uint8ClampedArray(canvas.width * canvas.height * 3);
  for (let pixel = 0; pixel * 3 < colours.length; pixel += 1) {
    let change = 0;
    for (let c = pixel * channels; c < (pixel + 1) * channels; c += 1) change += one[c] - other[c];
    colours.set(diverging(change / channels / limit), pixel * 3);
  }
  paint(canvas, colours, 3);
}

/** Return what the colours of a difference of bytes mean: the scale with its ends and its middle. */
function colourScale(limit) {
  const end = Number((limit / 255).toPrecision(2));
  const bar = html("span");
  bar.style.background = `linear-gradient(90deg, ${STOPS.map((stop) => `rgb(${stop})`)})`;
  const ends = [`−${end}`, "0", `+${end}`].map((text) => html("span", {}, text));
  const title = "scale of the difference, in units of a pixel from 0 to 1";
  return html("div", { class: "vsnn-scale", title }, bar, ...ends);
}

/** A line or a column of pictures for each track; a caption below each where a track has them. */
export function pictures(spec, instrument) {
  const [height, width, channels] = spec.size;
  const across = spec.layout === "columns";
  const count = spec.count;
  const columns = across ? spec.tracks.length : Math.min(spec.columns, count);
  const element = html("div", { class: `vsnn-pictures vsnn-${across ? "across" : "rows"}` });
  element.classList.toggle("vsnn-captioned", spec.tracks.some((track) => track.captions));
  element.style.setProperty("--columns", columns);
  const cells = spec.tracks.map((track) => Array.from({ length: count }, (_, i) => cell(track, i)));

  function cell(track, index) {
    const canvas = html("canvas", { width, height, role: "img" });
    const words = [track.label, ...(count > 1 ? [`image ${index + 1}`] : [])].filter(Boolean);
    canvas.setAttribute("aria-label", words.join(", "));
    const lines = track.captions ? [html("span"), html("span")] : [];
    const below = track.captions ? [html("figcaption", {}, ...lines)] : [];
    if (track.minus) below.push(colourScale(track.limit));
    return { canvas, lines, holder: html("figure", {}, canvas, ...below) };
  }

  function place() {
    for (let first = 0; first < count; first += columns) {
      spec.tracks.forEach((track, row) => {
        if (!across) element.append(html("span", { class: "vsnn-track" }, track.label));
        for (let i = first; i < Math.min(first + columns, count); i += 1) {
          const { holder } = cells[row][i];
          if (across) holder.prepend(html("span", { class: "vsnn-track" }, track.label));
          element.append(holder);
        }
        for (let i = count; !across && i < first + columns; i += 1) element.append(html("span"));
      });
    }
  }

  const size = width * height * channels;
  const shown = new Map(); // what each track shows, so that what stays is not drawn again

  function show(positions) {
    spec.tracks.forEach((track, row) => {
      const pixels = instrument.slice(track.source, positions);
      const other = track.minus && instrument.slice(track.minus, positions);
      if (shown.get(row) === pixels && !other) return caption(row, positions);
      shown.set(row, pixels);
      cells[row].forEach(({ canvas }, i) => {
        const own = pixels.subarray(i * size, (i + 1) * size);
        if (!other) return paint(canvas, own, channels);
        paintDifference(canvas, own, other.subarray(i * size, (i + 1) * size), channels, track.limit);
      });
      caption(row, positions);
    });
  }

  /** Say below each picture what it is taken for; wrong and changed ones by mark and frame, too. */
  function caption(row, positions) {
    const { captions } = spec.tracks[row];
    if (!captions) return;
    const [said, truth, full] = ["said", "truth", "full"].map(
      (name) => instrument.slice(captions[name], positions));
    const { names, short } = captions;
    cells[row].forEach(({ lines, holder }, i) => {
      const wrong = said[i] !== truth[i];
      const text = wrong ? [`✗ ${short[said[i]]}`, `(${short[truth[i]]})`] : [short[said[i]], ""];
      if (lines.every((line, place) => line.textContent === text[place])) return;
      lines.forEach((line, place) => { line.textContent = text[place]; });
      holder.title = wrong ? `${names[said[i]]} (${names[truth[i]]})` : names[said[i]];
      holder.classList.toggle("vsnn-wrong", wrong);
    });
    cells[row].forEach(({ holder }, i) => holder.classList.toggle("vsnn-flip", said[i] !== full[i]));
  }

  place();
  if (spec.key) element.prepend(html("p", { class: "vsnn-key" }, spec.key));
  return { element, show };
}

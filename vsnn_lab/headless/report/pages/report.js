// Draws the figures of a page and moves its instruments. A classic script, because browsers load
// modules from no disk.
"use strict";

const INTERVAL = 400; // milliseconds a width when playing, as in the notebook
const WIDTH = 1000; // pixels of a figure that says nothing of its own
const HEIGHT = 450;

const stored = (element) => JSON.parse(element.textContent);

/** Scale what was drawn at its own size to the room that there is. */
function fit(holder) {
  const plot = holder.firstElementChild;
  const [width, height] = [plot.offsetWidth, plot.offsetHeight];
  const style = getComputedStyle(holder);
  const room = holder.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  const most = parseFloat(style.maxHeight) || Infinity;
  const scale = Math.min(1, room / width, most / height);
  plot.style.transform = scale < 1 ? `scale(${scale})` : "";
  plot.style.marginLeft = `${Math.max(0, (room - width * scale) / 2)}px`;
  holder.style.height = `${height * scale}px`;
}

/** Draw a figure in place of its data; return what Plotly drew into. */
async function draw(holder) {
  const { data, layout } = stored(holder.querySelector("script"));
  const still = holder.classList.contains("thumb");
  const size = { width: layout.width || WIDTH, height: layout.height || HEIGHT };
  const plot = document.createElement("div");
  plot.style.width = `${size.width}px`;
  plot.style.height = `${size.height}px`;
  holder.replaceChildren(plot);
  const config = { displayModeBar: false, staticPlot: still, responsive: false };
  await Plotly.newPlot(plot, data, { ...layout, ...size }, config);
  fit(holder);
  new ResizeObserver(() => fit(holder)).observe(holder);
  return plot;
}

/** Return what changes in the figure at one width: properties, parts of the layout, traces. */
function changes(told, index) {
  const properties = {};
  const traces = Object.keys(told.changes[index]).map(Number);
  if (told.picture !== null && !traces.includes(told.picture)) traces.push(told.picture);
  traces.forEach((trace, place) => {
    const changed = { ...told.changes[index][trace] };
    if (trace === told.picture) changed.source = told.pictures[index];
    for (const [name, value] of Object.entries(changed)) {
      // What is undefined for a trace stays as it is.
      properties[name] ??= new Array(traces.length).fill(undefined);
      properties[name][place] = value;
    }
  });
  return [properties, { ...told.layouts[index] }, traces];
}

/** Put the read-outs and the number beside the slider to a width. */
function tell(instrument, told, index) {
  const tiles = instrument.querySelectorAll(".readouts > div");
  told.readouts[index].forEach(([, number, remark], place) => {
    const [, shown, small] = tiles[place].children;
    shown.textContent = number;
    small.textContent = remark;
  });
  const slider = instrument.querySelector("input");
  slider.setAttribute("aria-valuetext", told.widths[index]);
  slider.style.setProperty("--share", `${(100 * index) / Math.max(1, slider.max)}%`);
  instrument.querySelector("output").textContent = told.widths[index];
}

/** Show a width: pictures, marker, read-outs and number in one frame. */
async function show(instrument, told, plot, index) {
  const [{ source, ...others }, layout, traces] = changes(told, index);
  // Plotly waits for pictures to be decoded, and for nothing else: so they go first, and all that
  // follows comes before the browser paints.
  if (source) await Plotly.restyle(plot, { source }, traces);
  const drawn = Plotly.update(plot, others, layout, traces);
  tell(instrument, told, index);
  await drawn;
}

/** Let the slider and the play button of an instrument move what it shows. */
function connect(instrument, told, plot) {
  const slider = instrument.querySelector("input");
  const button = instrument.querySelector("button");
  let shown = Number(slider.value);
  let busy = false;
  let playing = null;

  async function follow() {
    if (busy) return; // the loop below takes the latest position, and skips those in between
    busy = true;
    while (shown !== Number(slider.value)) {
      shown = Number(slider.value);
      await show(instrument, told, plot, shown);
      await new Promise(requestAnimationFrame);
    }
    busy = false;
  }

  function play(on) {
    clearInterval(playing);
    playing = on ? setInterval(step, INTERVAL) : null;
    button.setAttribute("aria-pressed", String(on));
  }

  function step() {
    slider.value = (Number(slider.value) + 1) % told.widths.length;
    follow();
  }

  slider.addEventListener("input", () => {
    play(false);
    follow();
  });
  button.addEventListener("click", () => play(playing === null));
  instrument.dataset.ready = "";
}

/** Open or close all code of the page. */
function toggleCode() {
  const button = document.querySelector("[data-code]");
  const cells = document.querySelectorAll("details.code");
  if (!button || !cells.length) return;
  button.hidden = false;
  button.addEventListener("click", () => {
    const open = button.textContent.startsWith("Show");
    cells.forEach((cell) => { cell.open = open; });
    button.textContent = open ? "Hide all code" : "Show all code";
  });
}

async function start() {
  toggleCode();
  for (const holder of document.querySelectorAll("[data-figure]")) {
    const plot = await draw(holder);
    const instrument = holder.closest("[data-instrument]");
    if (instrument) connect(instrument, stored(instrument.querySelector("[data-widths]")), plot);
  }
  document.documentElement.dataset.ready = "";
}

start();

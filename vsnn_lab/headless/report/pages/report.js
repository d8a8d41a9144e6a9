// Draws the figures of a page and starts its instruments. A classic script, because browsers load
// modules from no disk.
"use strict";

const WIDTH = 1000; // pixels of a figure that says nothing of its own
const HEIGHT = 450;
const MARGINS = { l: 80, r: 80, t: 100, b: 80 }; // Plotly's own
const LEAST = 0.65; // of a figure's width, to which pictures and panels are narrowed
const dark = matchMedia("(prefers-color-scheme: dark)");

/**
 * Return what fits a figure to the room that there is: text keeps its size, pictures their shape.
 *
 * Pictures and panels are not narrowed below what their labels need: their holder scrolls.
 */
function fitted(holder, { data, layout }) {
  const style = getComputedStyle(holder);
  const most = parseFloat(style.maxHeight) || Infinity;
  const own = { width: layout.width || WIDTH, height: layout.height || HEIGHT };
  const template = layout.template?.layout ?? {};
  // On a ground of its own a figure's own ink is right.
  const ground = layout.paper_bgcolor ?? template.paper_bgcolor;
  const ink = ground === "rgba(0,0,0,0)" && { "font.color": style.color };
  if (holder.classList.contains("thumb")) {
    const zoom = Math.min(1, holder.clientWidth / own.width, most / own.height);
    return { ...own, ...ink, zoom };
  }
  const { l, r, t, b } = { ...MARGINS, ...template.margin, ...layout.margin };
  const pictures = data.every(({ type, x }) => type === "image" || x?.[0] === null);
  const least = pictures || layout.xaxis2 ? LEAST * own.width : 0;
  const width = Math.min(own.width, Math.max(holder.clientWidth, least));
  const scale = pictures ? (width - l - r) / (own.width - l - r) : 1;
  const height = Math.min(t + b + scale * (own.height - t - b), most);
  return { width, height, ...ink };
}

/** Draw a figure in place of its data, and again where the room changes. */
async function draw(holder, figure) {
  const still = holder.classList.contains("thumb");
  const plot = document.createElement("div");
  holder.replaceChildren(plot);
  const config = { displayModeBar: false, staticPlot: still, responsive: false };
  // Plotly keeps the layout that it is given, and one change at a time.
  let last = Plotly.newPlot(plot, figure.data, { ...figure.layout }, config);
  let shown = "";
  async function adjust() {
    const size = fitted(holder, figure);
    if (!holder.clientWidth || JSON.stringify(size) === shown) return; // none while it is hidden
    shown = JSON.stringify(size);
    const { zoom, ...laid } = size;
    await Plotly.relayout(plot, laid);
    if (still) plot.style.zoom = zoom;
    else holder.tabIndex = holder.scrollWidth > holder.clientWidth ? 0 : -1;
  }
  const fit = () => (last = last.then(adjust));
  await fit();
  // In the next frame: what a figure does to its holder's height is no news to the observer then.
  new ResizeObserver(() => requestAnimationFrame(fit)).observe(holder);
  dark.addEventListener("change", fit);
}

/** Draw what a holder has the data of; where that fails, say so there and leave the rest alone. */
async function start(holder) {
  try {
    const stored = JSON.parse(holder.querySelector("script").textContent);
    if ("figure" in holder.dataset) await draw(holder, stored);
    else window.vsnnMount(holder, stored);
  } catch (error) {
    holder.textContent = `This could not be drawn: ${error.message}`;
  }
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

async function startAll() {
  toggleCode();
  const holders = document.querySelectorAll("[data-figure], [data-vsnn-state]");
  for (const holder of holders) await start(holder);
  document.documentElement.dataset.ready = "";
}

startAll();

/** Controls: each moves one axis of what the instrument shows. */

import { html, svg } from "./dom.js";

const INTERVAL = 400; // milliseconds a width; slow enough to see what changed
const PLAY = "M4 2.5v11l9-5.5z";
const PAUSE = "M4 2.5h3v11H4zM9.5 2.5h3v11h-3z";

/** A slider over widths: typed width, play button, linear and log2 stops. */
function widthControl(spec, instrument) {
  const { name, label, values, log2 } = spec;
  const every = values.map((_, index) => index);
  let stops = every;
  let playing = null;

  const slider = html("input", { type: "range", min: 0, step: 1, "aria-label": label });
  const most = values.at(-1);
  const typed = html("input", { type: "number", min: values[0], max: most, step: 1 });
  typed.setAttribute("aria-label", `${label}, typed`);
  const play = playButton(`Play through ${label}`);
  const spacing = ["linear", "log2"].map((kind) => {
    const says = kind === "linear" ? "every width, evenly spaced" : "doublings evenly spaced";
    const button = html("button", { "aria-pressed": kind === "linear", title: says }, kind);
    button.addEventListener("click", () => space(kind));
    return button;
  });

  function nearest(index) {
    return stops.reduce((best, stop, place) =>
      Math.abs(stop - index) < Math.abs(stops[best] - index) ? place : best, 0);
  }

  function space(kind) {
    stops = kind === "log2" ? log2 : every;
    spacing.forEach((button) => button.setAttribute("aria-pressed", button.textContent === kind));
    instrument.move(name, stops[nearest(instrument.positions[name])]);
    show(instrument.positions);
  }

  function step() {
    const next = (nearest(instrument.positions[name]) + 1) % stops.length;
    instrument.move(name, stops[next]);
  }

  function run(on) {
    clearInterval(playing);
    playing = on ? setInterval(step, INTERVAL) : null;
    play.setAttribute("aria-pressed", on);
    play.firstChild.firstChild.setAttribute("d", on ? PAUSE : PLAY);
  }

  play.addEventListener("click", () => {
    // Whoever asked for less motion gets a step a press, and nothing that runs on its own.
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) step();
    else run(playing === null);
  });
  slider.addEventListener("input", () => {
    run(false);
    instrument.move(name, stops[Number(slider.value)]);
  });
  function type() {
    run(false);
    const wanted = Number(typed.value);
    const fits = typed.value !== "" && wanted >= values[0] && wanted <= most;
    instrument.say(fits ? "" : `${label} must lie in ${values[0]}..${most}, got ${typed.value}`);
    if (fits) instrument.move(name, instrument.nearest(name, wanted));
    show(instrument.positions);
  }

  typed.addEventListener("change", type);
  // Enter in JupyterLab changes nothing by itself.
  typed.addEventListener("keydown", ({ key }) => { if (key === "Enter") type(); });

  function show(positions) {
    const index = positions[name];
    // Moved to a width between the log2 stops, as Python may: then every width is a stop again.
    if (!stops.includes(index)) return space("linear");
    slider.max = stops.length - 1;
    slider.value = stops.indexOf(index);
    slider.setAttribute("aria-valuetext", `${values[index]} of ${spec.of}`);
    slider.style.setProperty("--share", slider.value / Math.max(1, stops.length - 1));
    typed.value = values[index];
  }

  const text = html("span", { class: "vsnn-label", "aria-hidden": "true" }, label);
  const switches = html("div", { class: "vsnn-switch", role: "group" }, ...spacing);
  switches.setAttribute("aria-label", `stops of ${label}`);
  const element = html("div", { class: "vsnn-width" }, play, text, slider, typed, switches);
  return { element, show, dispose: () => run(false) };
}

function playButton(label) {
  const button = html("button", { class: "vsnn-play", "aria-label": label, title: label });
  button.setAttribute("aria-pressed", "false");
  button.append(svg("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, svg("path", { d: PLAY })));
  return button;
}

/** A menu. */
function menuControl({ name, label, options }, instrument) {
  const select = html("select", {}, ...options.map((each, i) => html("option", { value: i }, each)));
  select.addEventListener("change", () => instrument.move(name, Number(select.value)));
  const element = html("label", { class: "vsnn-menu" }, html("span", {}, label), select);
  return { element, show: (positions) => { select.value = positions[name]; } };
}

export const CONTROLS = { width: widthControl, menu: menuControl };

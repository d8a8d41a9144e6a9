/** Sliders over numbers, each with ends and a home of its own; a kernel hears of their moves. */

import { html } from "./dom.js";

const PLACES = 200;

/**
 * Some sliders. `source` is an array of low end, high end and home of each, not a number where there
 * is none at this position; their value is a list, null for those at home.
 */
export function ranges({ name, label, count, source, note }, instrument) {
  const rows = Array.from({ length: count }, (_, index) => row(index));
  const why = html("p", { class: "vsnn-note" }, note);
  const element = html("div", { class: "vsnn-ranges" }, ...rows.map((each) => each.element), why);

  function row(index) {
    const title = `${label} ${index + 1}`;
    const slider = html("input", { type: "range", min: 0, max: PLACES, step: 1, "aria-label": title });
    const number = html("span", { class: "vsnn-number", "data-readout": title });
    slider.addEventListener("input", () => move(index, Number(slider.value)));
    const text = html("span", { class: "vsnn-label", "aria-hidden": "true" }, title);
    return { slider, number, element: html("div", { class: "vsnn-width" }, text, slider, number) };
  }

  function ends(index, positions) {
    const [low, high, home] = instrument.slice(source, positions).subarray(3 * index, 3 * index + 3);
    const value = positions[name][index] ?? home;
    return { low: Math.min(low, value), high: Math.max(high, value), home, value };
  }

  const place = ({ low, high }, value) => Math.round(((value - low) / (high - low)) * PLACES);

  function move(index, stop) {
    const found = ends(index, instrument.positions);
    const value = found.low + ((found.high - found.low) * stop) / PLACES;
    // Home lies between two stops: the nearer one is home itself.
    const other = stop === place(found, found.home) ? null : value;
    instrument.move(name, instrument.positions[name].map((each, i) => (i === index ? other : each)));
  }

  function show(positions) {
    rows.forEach(({ slider, number }, index) => {
      const found = ends(index, positions);
      const there = Number.isFinite(found.home);
      slider.disabled = !there || !instrument.live;
      slider.value = there ? place(found, found.value) : 0;
      slider.style.setProperty("--share", slider.value / PLACES);
      const { value } = found;
      number.textContent = there ? `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}` : "–";
      slider.setAttribute("aria-valuetext", there ? number.textContent : "beyond the width");
    });
  }

  instrument.onLive(() => {
    why.hidden = true;
    show(instrument.positions);
  });
  return { element, show };
}

/** Numbers, each with its name and its unit; they keep their places when they change. */

import { html } from "./dom.js";

/** Return what a list of texts, or one for all, has at a position. */
function at(texts, index) {
  return Array.isArray(texts) ? texts[index] : texts;
}

/** Return a number as its tile shows it. */
function shownNumber(value, { digits = 0, sign = false, suffix = "" }) {
  const text = value.toLocaleString("en", {
    minimumFractionDigits: digits, maximumFractionDigits: digits,
    signDisplay: sign ? "exceptZero" : "auto",
  });
  return Number.isFinite(value) ? `${text}${suffix}` : "–";
}

/** A line of tiles: texts by the position of a control, numbers of an array, or a ratio of two. */
export function tiles(spec, instrument) {
  const shown = spec.items.map((item) => {
    const number = html("dd", { "data-readout": item.name });
    const note = html("dd", { class: "vsnn-note" });
    return { item, number, note, element: html("div", {}, html("dt", {}, item.name), number, note) };
  });
  const element = html("dl", { class: "vsnn-tiles" }, ...shown.map((tile) => tile.element));

  function show(positions) {
    for (const { item, number, note } of shown) {
      const index = positions[item.by ?? spec.by];
      const [value, over] = [item.source, item.over].map((source) =>
        (source ? instrument.slice(source, positions)[0] : 1));
      const text = item.values ? at(item.values, index) : shownNumber(value / over, item);
      if (number.textContent !== text) number.textContent = text;
      const remark = at(item.notes, positions[item.notesBy ?? item.by ?? spec.by]);
      if (note.textContent !== remark) note.textContent = remark;
    }
  }

  const words = () => shown.map(({ item, number }) => `${item.name} ${number.textContent}`);
  return { element, show, words };
}

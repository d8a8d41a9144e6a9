/** Several of a list, by check boxes; where they are curves, it is their legend as well. */

import { swatch } from "./curve.js";
import { html } from "./dom.js";

/** Check boxes with names; their value is the list of the places of those that are ticked. */
export function choices({ name, label, options, looks }, instrument) {
  const every = options.map((_, index) => index);
  const boxes = options.map(() => html("input", { type: "checkbox" }));
  const items = options.map((option, index) =>
    html("label", { title: option }, boxes[index], swatch(looks[index]), html("span", {}, option)));
  const buttons = [["All", every], ["None", []]].map(([text, value]) => {
    const button = html("button", { "aria-label": `${text} of ${label}` }, text);
    button.addEventListener("click", () => instrument.move(name, value));
    return button;
  });
  const list = html("div", { class: "vsnn-options" }, ...items);
  const element = html("div", { class: "vsnn-choices", role: "group", "aria-label": label },
    html("span", { class: "vsnn-label" }, label), ...buttons, list);

  list.addEventListener("change", () =>
    instrument.move(name, every.filter((index) => boxes[index].checked)));

  function show(positions) {
    const picked = new Set(positions[name]);
    boxes.forEach((box, index) => { box.checked = picked.has(index); });
  }

  return { element, show };
}

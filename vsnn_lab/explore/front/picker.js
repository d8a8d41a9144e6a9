/** Choose one of many images, by its class and its place there; only a kernel can show another. */

import { html } from "./dom.js";

/** A menu of classes, where images have labels, and a slider over the images of the class. */
export function picker({ name, label, count, classes }, instrument) {
  const all = Array.from({ length: count }, (_, index) => index);
  let members = all;

  const options = ["all classes", ...classes].map((each, i) => html("option", { value: i - 1 }, each));
  const select = html("select", { "aria-label": `class of the ${label}` }, ...options);
  const slider = html("input", { type: "range", min: 0, step: 1, "aria-label": label });
  const place = html("span", { class: "vsnn-number", "aria-hidden": "true" });
  const text = html("span", { class: "vsnn-label", "aria-hidden": "true" }, label);
  const element = html("div", { class: "vsnn-width", hidden: "" }, select, text, slider, place);
  select.hidden = !classes.length;

  select.addEventListener("change", () => {
    const labels = select.value < 0 ? null : instrument.array("labels");
    members = labels ? all.filter((index) => labels[index] === Number(select.value)) : all;
    instrument.move(name, members[0]);
    show(instrument.positions);
  });
  slider.addEventListener("input", () => instrument.move(name, members[Number(slider.value)]));

  function show(positions) {
    // One of another class, as Python may ask for.
    if (!members.includes(positions[name])) [members, select.value] = [all, -1];
    const index = members.indexOf(positions[name]);
    slider.max = members.length - 1;
    slider.value = index;
    slider.disabled = members.length === 1;
    slider.style.setProperty("--share", index / Math.max(1, members.length - 1));
    place.textContent = `${index + 1} of ${members.length}`;
    slider.setAttribute("aria-valuetext", place.textContent);
  }

  if (count > 1) instrument.onLive(() => { element.hidden = false; });
  return { element, show };
}

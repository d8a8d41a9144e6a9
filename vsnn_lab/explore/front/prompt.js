/** A line to type a prompt in: what it says counts when nobody has typed for a moment. */

import { html } from "./dom.js";

const TYPING = 250; // milliseconds without a key after which nobody is

/** A control whose value is a text of at most `most` characters; for whoever has a kernel. */
export function promptField({ name, label, most }, instrument) {
  const field = html("textarea", { rows: 2, maxlength: most, spellcheck: "false", "aria-label": label });
  const text = html("span", { class: "vsnn-label", "aria-hidden": "true" }, label);
  const element = html("div", { class: "vsnn-prompt", hidden: "" }, text, field);
  let [timer, shown] = [null, null];

  function say() {
    clearTimeout(timer);
    timer = null;
    shown = field.value;
    instrument.move(name, field.value);
  }

  function wait() {
    clearTimeout(timer);
    timer = setTimeout(say, TYPING);
  }

  field.addEventListener("input", wait);
  // Enter in JupyterLab begins no line by itself.
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing || field.value.length >= most) return;
    event.preventDefault();
    field.setRangeText("\n", field.selectionStart, field.selectionEnd, "end");
    wait();
  });
  field.addEventListener("change", say);
  instrument.onLive(() => { element.hidden = false; });

  function show(positions) {
    // What is being typed stays, whatever else moves.
    if (positions[name] === shown || timer !== null) return;
    shown = positions[name];
    field.value = shown;
  }

  return { element, show, dispose: () => clearTimeout(timer) };
}

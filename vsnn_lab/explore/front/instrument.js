/** An instrument: controls move positions, parts show what its arrays hold there. */

import { budget } from "./budget.js";
import { choices } from "./choices.js";
import { continuation } from "./continuation.js";
import { CONTROLS } from "./controls.js";
import { curve } from "./curve.js";
import { html, onDarkGround } from "./dom.js";
import { frames } from "./frames.js";
import { mask } from "./masks.js";
import { matrix } from "./matrix.js";
import { pad } from "./pad.js";
import { passage } from "./passage.js";
import { picker } from "./picker.js";
import { pictures } from "./pictures.js";
import { promptField } from "./prompt.js";
import { ranges } from "./ranges.js";
import { ranking } from "./ranking.js";
import { tiles } from "./tiles.js";

const KINDS_OF_CONTROL = { ...CONTROLS, choices, picker, prompt: promptField, ranges };
const PARTS = {
  budget, continuation, curve, frames, mask, matrix, pad, passage, pictures, ranking, tiles,
};
const PACE = 50; // milliseconds between two widths that the kernel hears of
const REST = 700; // milliseconds after which the read-outs are announced
const KINDS = {
  uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, float32: Float32Array,
};

/** Draw an instrument into an element: what anywidget calls for each place that it is shown in. */
export function render({ model, el }) {
  const typed = new Map(); // bytes of an array by name, and the numbers in them
  const positions = {};
  const hearing = new Set(); // whoever asked to be told that a kernel answers
  const waiting = new Map(); // what the kernel was asked for and has not answered yet
  let [parts, controls, before] = [[], [], null];
  let [heard, resting, last] = [null, null, 0];

  const root = html("section", { class: "vsnn", role: "group" });
  const top = html("div", { class: "vsnn-controls" });
  const middle = html("div", { class: "vsnn-parts" });
  const buttons = html("div", { class: "vsnn-actions" });
  const status = html("p", { class: "vsnn-status", role: "status" });
  const working = html("p", { class: "vsnn-working", "aria-hidden": "true" }, "computing …");
  const announced = html("p", { class: "vsnn-hidden", "aria-live": "polite" });

  /** Return an array as it travelled; what is drawn comes often, and so by itself. */
  const held = (name) => (name === "drawn" ? model.get("drawn") : model.get("arrays")[name]);

  const instrument = {
    live: false,
    positions,
    control: (name) => model.get("description").controls.find((each) => each.name === name),
    /** Return whether there is an array of this name. */
    has: (name) => Boolean(held(name)?.data),
    /** Return all numbers of an array. */
    array(name) {
      const { dtype, data } = held(name);
      if (typed.get(name)?.data !== data) {
        const Kind = KINDS[dtype];
        // A copy where the bytes do not begin at a multiple of a number's size.
        const { buffer, byteOffset, byteLength } = data;
        const fits = byteOffset % Kind.BYTES_PER_ELEMENT === 0;
        const numbers = fits
          ? new Kind(buffer, byteOffset, byteLength / Kind.BYTES_PER_ELEMENT)
          : new Kind(buffer.slice(byteOffset, byteOffset + byteLength));
        typed.set(name, { data, numbers, slices: new Map() });
      }
      return typed.get(name).numbers;
    },
    /** Return what an array holds at positions: of the controls that its leading axes stand for. */
    slice(source, at = positions) {
      const { array: name, by } = typeof source === "string" ? { array: source } : source;
      const numbers = instrument.array(name);
      const { shape, by: axes } = held(name);
      const size = shape.slice(axes.length).reduce((all, each) => all * each, 1);
      const place = (by ?? axes).reduce((sum, axis, i) => sum * shape[i] + at[axis], 0);
      const { slices } = typed.get(name);
      // The same object for the same place, so that a part sees that nothing changed.
      if (!slices.has(place)) slices.set(place, numbers.subarray(place * size, (place + 1) * size));
      return slices.get(place);
    },
    /** Return what a control stands at, as Python has it. */
    value: (name, at = positions) => instrument.control(name).values?.[at[name]] ?? at[name],
    /** Return the position of a control that is nearest to a value. */
    nearest(name, value) {
      const { values } = instrument.control(name);
      if (!values) return value;
      return values.reduce((best, each, i) =>
        Math.abs(each - value) < Math.abs(values[best] - value) ? i : best, 0);
    },
    /** Move a control: all that is shown follows at once, the kernel hears of it afterwards. */
    move(name, index) {
      if (positions[name] === index) return;
      positions[name] = index;
      show();
      model.set(name, instrument.value(name));
      clearTimeout(heard);
      heard = setTimeout(tell, Math.max(0, last + PACE - performance.now()));
    },
    /** Ask the kernel for something; promises its answer, when what it changed has arrived. */
    ask(kind, content = {}, bytes = []) {
      const id = crypto.getRandomValues(new Uint32Array(1))[0];
      // A message overtakes moves that still wait for a busy kernel: it says itself where all stand.
      const at = Object.fromEntries(Object.keys(positions).map((name) => [name, model.get(name)]));
      model.send({ type: kind, id, at, ...content }, undefined, bytes);
      return new Promise((resolve, reject) => { waiting.set(id, { resolve, reject }); });
    },
    /** Say something in the status line. */
    say(text) { status.textContent = text; },
    /** Call back when a kernel answers: at once, where it did. */
    onLive(callback) {
      if (instrument.live) callback();
      else hearing.add(callback);
    },
  };

  function tell() {
    heard = null;
    last = performance.now();
    model.save_changes();
  }

  /** Return whether the kernel still works on what the controls ask of it. */
  function waits() {
    return Object.values(model.get("arrays")).some(({ answers }) =>
      Object.entries(answers ?? {}).some(([name, value]) =>
        JSON.stringify(value) !== JSON.stringify(instrument.value(name))));
  }

  function show() {
    for (const each of [...controls, ...parts]) each.show(positions);
    root.setAttribute("aria-busy", waits());
    clearTimeout(resting);
    resting = setTimeout(announce, REST);
  }

  function announce() {
    announced.textContent = parts.flatMap((part) => part.words?.() ?? []).join(", ");
  }

  /** Put positions to what Python has; return whether any moved. */
  function read() {
    let moved = false;
    for (const { name } of model.get("description").controls) {
      const index = instrument.nearest(name, model.get(name));
      moved ||= positions[name] !== index;
      positions[name] = index;
    }
    return moved;
  }

  function build() {
    const { kind, label, controls: asked, parts: drawn, actions } = model.get("description");
    root.setAttribute("data-vsnn-instrument", kind);
    root.setAttribute("aria-label", label);
    read();
    // Controls that stay keep the focus.
    if (JSON.stringify(asked) !== before) {
      before = JSON.stringify(asked);
      dispose(controls);
      controls = asked.map((spec) => KINDS_OF_CONTROL[spec.type](spec, instrument));
      top.replaceChildren(...controls.map((each) => each.element));
    }
    dispose(parts);
    parts = drawn.map((spec) => PARTS[spec.type](spec, instrument));
    middle.replaceChildren(...parts.map((each) => each.element));
    buttons.replaceChildren(...actions.map(action), working, status);
    show();
  }

  /** A button for what only a kernel can do: hidden until one answers. */
  function action({ name, label }) {
    const button = html("button", { hidden: "" }, label);
    button.addEventListener("click", () => {
      const asked = `asked the kernel: ${label} …`;
      instrument.say(asked);
      const done = () => { if (status.textContent === asked) instrument.say(""); };
      instrument.ask("action", { name }).then(done, (error) => instrument.say(error.message));
    });
    instrument.onLive(() => { button.hidden = false; });
    return button;
  }

  function dispose(each) {
    each.forEach((one) => one.dispose?.());
  }

  function hear(message) {
    const asked = waiting.get(message.id);
    waiting.delete(message.id);
    if (message.error) asked?.reject(new Error(message.error));
    else asked?.resolve(message);
    if (instrument.live) return;
    instrument.live = true;
    hearing.forEach((callback) => callback());
  }

  /** Give JupyterLab its shortcuts with Ctrl back: who keeps the arrow keys from it keeps all. */
  function lend({ target, ctrlKey, metaKey }) {
    if (!(target instanceof Element) || !root.contains(target)) return;
    if (ctrlKey || metaKey) target.removeAttribute("data-lm-suppress-shortcuts");
    else target.setAttribute("data-lm-suppress-shortcuts", "true");
  }

  function follow() {
    if (!heard) return void (read() && show());
    // The echo of an earlier move: what the kernel has not heard of yet is what counts.
    for (const name of Object.keys(positions)) {
      const behind = instrument.nearest(name, model.get(name)) !== positions[name];
      if (behind) model.set(name, instrument.value(name));
    }
  }

  const paint = () => { root.dataset.theme = onDarkGround(root) ? "dark" : "light"; };
  const sayStatus = () => instrument.say(model.get("status"));
  const names = model.get("description").controls.map(({ name }) => `change:${name}`);
  const listeners = { "change:description": build, "change:arrays": show, "change:drawn": show, "change:status": sayStatus };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const themed = new MutationObserver(paint);

  root.append(top, middle, buttons, announced);
  el.append(root);
  build();
  sayStatus();
  paint();
  dark.addEventListener("change", paint);
  themed.observe(document.body, { attributes: true });
  window.addEventListener("keydown", lend, true);
  Object.entries(listeners).forEach(([event, callback]) => model.on(event, callback));
  names.forEach((event) => model.on(event, follow));
  model.on("msg:custom", hear);
  instrument.ask("hello");

  return () => {
    dispose([...controls, ...parts]);
    clearTimeout(resting);
    if (heard) tell();
    dark.removeEventListener("change", paint);
    themed.disconnect();
    window.removeEventListener("keydown", lend, true);
    Object.entries(listeners).forEach(([event, callback]) => model.off(event, callback));
    names.forEach((event) => model.off(event, follow));
    model.off("msg:custom", hear);
  };
}

/** How a prompt goes on at the width shown, beside how it does at full width. */

import { html } from "./dom.js";
import { tokenSpan } from "./tokens.js";

/**
 * `by_width.tokens` are the continuations of `spec.prompt` by the control `by`: each token is its
 * number and its text. A kernel that answers is asked to "continue" whatever the control "prompt"
 * says, a few tokens at a time: it listens in between, and so another prompt or width replaces what
 * is under way.
 */
export function continuation(spec, instrument) {
  const { by, length, by_width: { tokens } } = spec;
  const most = instrument.control(by).values.length - 1;
  const sides = ["at this width, ", "at full width, "].map((title) => {
    const width = html("b");
    const text = html("div", { class: "vsnn-text", tabindex: 0, role: "group", "data-lm-suppress-shortcuts": "true" });
    text.setAttribute("aria-label", `continuation ${title.slice(0, -2)}`);
    return { width, text, drawn: null, element: html("figure", {}, html("figcaption", {}, title, width), text) };
  });
  const alike = html("b", { "data-readout": "tokens in common" });
  const places = html("b", { "data-readout": "tokens in place" });
  const mark = html("span", { class: "vsnn-differs" }, "underlined");
  const note = html("p", { class: "vsnn-note" }, "as at full width: the first ", alike, ", and ", places,
    " in the same place; ", mark, ": another token than at full width");
  const button = html("button", { hidden: "" });
  const why = html("p", { class: "vsnn-note" }, "A Python kernel continues other prompts.");
  const foot = html("div", { class: "vsnn-foot" }, note, button, why);
  const element = html("div", { class: "vsnn-continuation" }, ...sides.map((side) => side.element), foot);

  let [prompt, known] = [null, new Map()]; // its continuations, by position
  let [asking, stopped, closed] = [false, false, false];

  /** Return where the sides stand: at the width shown, and at full width. */
  const ends = () => [instrument.positions[by], most];
  const held = (index) => known.get(index) ?? [];
  const whole = (index) => held(index).length >= length;

  function show(positions) {
    const wanted = instrument.live ? positions.prompt : spec.prompt;
    if (wanted !== prompt) {
      [prompt, stopped] = [wanted, false];
      known = new Map(prompt === spec.prompt ? tokens.map((each, index) => [index, each]) : []);
    }
    draw();
    ask();
  }

  function draw() {
    const [here, full] = ends().map(held);
    sides.forEach((side, place) => {
      const index = ends()[place];
      // The same object where nothing changed.
      const now = { prompt, index, count: held(index).length, beside: full.length };
      const before = side.drawn;
      if (before && Object.keys(now).every((key) => now[key] === before[key])) return;
      side.drawn = now;
      side.width.textContent = instrument.control(by).values[index];
      const spans = held(index).flatMap(([token, text], at) => {
        const span = tokenSpan(text);
        span.classList.toggle("vsnn-differs", at < full.length && token !== full[at][0]);
        // A token that ends within a character has no text yet.
        return text === "" ? [] : [span];
      });
      side.text.replaceChildren(html("span", { class: "vsnn-given" }, prompt), ...spans);
      side.text.setAttribute("aria-busy", !whole(index) && prompt !== "");
    });
    const count = Math.min(here.length, full.length);
    const same = here.slice(0, count).map(([token], at) => token === full[at][0]);
    alike.textContent = same.includes(false) ? same.indexOf(false) : count;
    places.textContent = `${same.filter(Boolean).length} of ${count}`;
    const done = prompt === "" || ends().every(whole);
    button.textContent = stopped && !done ? "Go on" : "Stop";
    button.disabled = done;
  }

  /** Ask the kernel for what is missing, one question at a time. */
  function ask() {
    if (!instrument.live || asking || stopped || closed || prompt === "" || ends().every(whole)) return;
    asking = true;
    const have = ends().map((index) => held(index).length);
    const widths = ends().map((index) => instrument.control(by).values[index]);
    instrument.ask("continue", { prompt, widths, have }).then(take, (error) => {
      stopped = true;
      instrument.say(error.message);
    }).then(() => {
      asking = false;
      if (closed) return;
      draw();
      ask();
    });
  }

  function take({ prompt: of, widths, have, tokens: found }) {
    // Something else was typed meanwhile.
    if (of !== prompt) return;
    widths.forEach((width, place) => {
      const index = instrument.nearest(by, width);
      const before = held(index);
      if (before.length === have[place]) known.set(index, [...before, ...found[place]]);
    });
  }

  button.addEventListener("click", () => {
    stopped = !stopped;
    draw();
    ask();
  });
  instrument.onLive(() => {
    why.hidden = true;
    button.hidden = false;
    if (prompt !== null) show(instrument.positions);
  });
  const words = () => [`as at full width: the first ${alike.textContent} tokens, ${places.textContent} in place`];
  return { element, show, words, dispose: () => { closed = true; } };
}

/** A passage, and below each of its tokens a shade as high as the token surprises. */

import { html } from "./dom.js";
import { quotedToken, tokenSpan } from "./tokens.js";

/**
 * `texts` are its tokens; `source` is an array of their bits by the control `by`, no number where
 * nothing comes before; a shade of full height stands for `most` bits.
 */
export function passage({ by, source, texts, most }, instrument) {
  const last = instrument.control(by).values.length - 1;
  const spans = texts.map(tokenSpan);
  const title = html("figcaption", {}, "bits of surprise, full height ", html("b", {}, most.toFixed(1)),
    ", a blind guess");
  const text = html("div", { class: "vsnn-text vsnn-shaded", tabindex: 0, role: "group", "aria-label": "passage" }, ...spans);
  text.setAttribute("data-lm-suppress-shortcuts", "true");
  const slider = html("input", { type: "range", min: 0, max: texts.length - 1, step: 1, "aria-label": "token" });
  const [token, bits, full] = ["token", "bits", "bits at full width"].map((name) =>
    html("b", { "data-readout": name }));
  const note = html("p", { class: "vsnn-note" }, token, " ", bits, " bits, at full width ", full);
  const label = html("span", { class: "vsnn-label", "aria-hidden": "true" }, "token");
  const line = html("div", { class: "vsnn-width" }, label, slider, note);
  const element = html("figure", { class: "vsnn-passage" }, title, text, line);
  let [drawn, picked] = [null, null];

  const said = (number) => (Number.isFinite(number) ? number.toFixed(1) : "–");

  function pick(index) {
    if (picked !== null) spans[picked].classList.remove("vsnn-picked");
    picked = index;
    spans[picked].classList.add("vsnn-picked");
    slider.value = picked;
    slider.style.setProperty("--share", picked / Math.max(1, texts.length - 1));
    tell();
  }

  function tell() {
    token.textContent = quotedToken(texts[picked]);
    bits.textContent = said(drawn[picked]);
    full.textContent = said(instrument.slice(source, { ...instrument.positions, [by]: last })[picked]);
    note.title = note.textContent;
    slider.setAttribute("aria-valuetext", `${token.textContent}, ${bits.textContent} bits`);
  }

  function show(positions) {
    const next = instrument.slice(source, positions);
    if (next === drawn) return;
    drawn = next;
    spans.forEach((span, index) => {
      const share = Number.isFinite(next[index]) ? Math.min(1, next[index] / most) : 0;
      span.style.setProperty("--share", share.toFixed(3));
    });
    if (picked === null) pick(Math.min(1, texts.length - 1));
    else tell();
  }

  slider.addEventListener("input", () => {
    pick(Number(slider.value));
    // Within the passage alone: the page stays.
    const { offsetTop, offsetHeight } = spans[picked];
    if (offsetTop < text.scrollTop) text.scrollTop = offsetTop;
    const below = offsetTop + offsetHeight - text.clientHeight;
    if (below > text.scrollTop) text.scrollTop = below;
  });
  for (const event of ["pointerover", "click"]) {
    text.addEventListener(event, ({ target }) => {
      const index = spans.indexOf(target);
      if (index >= 0) pick(index);
    });
  }
  return { element, show };
}

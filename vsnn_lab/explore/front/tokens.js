/** Tokens as text: what a model writes is never markup, and breaks of lines are seen. */

import { html } from "./dom.js";

/** Return a token. */
export function tokenSpan(text) {
  const span = html("span", {}, text);
  // A mark that is drawn and not copied: a line's end alone shows neither a shade nor an underline.
  if (text.includes("\n")) span.className = "vsnn-break";
  return span;
}

/** Return a token in quotes, so that its spaces are seen. */
export function quotedToken(text) {
  return `“${text.replaceAll("\n", "↵")}”`;
}

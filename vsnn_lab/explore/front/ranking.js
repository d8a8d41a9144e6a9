/** A table of the curves picked: what each has at the width shown, and where it is the best. */

import { html } from "./dom.js";

/** Return a number with four digits that count. */
function fourDigits(value) {
  const large = Math.abs(value) >= 1e4 && Math.abs(value) < 1e15;
  return large ? value.toLocaleString("en", { maximumFractionDigits: 0 }) : `${Number(value.toPrecision(4))}`;
}

/**
 * `places` holds the place of each of the series among all, by width, or that of nowhere; the best
 * of those picked is the one of the first place. `picked` names the choices.
 */
export function ranking(spec, instrument) {
  const { series, places, nowhere, picked, by, unit, says } = spec;
  const body = html("tbody");
  const heads = ["run", `value${unit ? ` (${unit})` : ""}`, ""].map((each) => html("th", { scope: "col" }, each));
  const head = html("thead", {}, html("tr", {}, ...heads));
  const said = html("p");
  const best = html("b", { "data-readout": "best run" });
  const value = html("b", { "data-readout": "best value" });
  const at = html("b", { "data-readout": "width" });
  const none = html("p", {}, "no run picked");
  said.append("at width ", at, ": ", best, ", ", value, unit ? ` ${unit}` : "");
  const element = html("div", { class: "vsnn-ranking" }, said, none, html("div", {}, html("table", {}, head, body)));
  const rows = series.map(({ name }) => {
    const [number, count] = [html("td"), html("td")];
    return { number, count, row: html("tr", {}, html("th", { scope: "row", title: name }, name), number, count) };
  });
  const count = series.length;
  let chosen = null;

  /** Return which of those chosen has the first place at an index of a width, or none. */
  function first(index) {
    const all = instrument.array(places);
    const place = (run) => all[index * count + run];
    return chosen.reduce((found, run) =>
      place(run) !== nowhere && (found < 0 || place(run) < place(found)) ? run : found, -1);
  }

  function choose(runs) {
    chosen = runs;
    const widths = instrument.array(places).length / count;
    const firsts = Array.from({ length: widths }, (_, index) => first(index)).filter((run) => run >= 0);
    body.replaceChildren(...runs.map((run) => rows[run].row));
    rows.forEach((row, run) => { row.count.textContent = firsts.filter((each) => each === run).length; });
    heads[2].textContent = `${says} at so many of ${firsts.length} widths`;
    [said.hidden, none.hidden, head.hidden] = [!runs.length, runs.length > 0, !runs.length];
  }

  function show(positions) {
    if (positions[picked] !== chosen) choose(positions[picked]);
    const winner = first(positions[by]);
    const width = instrument.value(by, positions);
    const here = (run) => series[run].y[series[run].x.indexOf(width)];
    at.textContent = width;
    best.textContent = winner < 0 ? "no run picked has this width" : series[winner].name;
    value.textContent = winner < 0 ? "–" : fourDigits(here(winner));
    for (const run of chosen) {
      rows[run].number.textContent = here(run) === undefined ? "–" : fourDigits(here(run));
      rows[run].row.classList.toggle("vsnn-best", run === winner);
    }
  }

  const words = () => [said.textContent];
  return { element, show, words };
}

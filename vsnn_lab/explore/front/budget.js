/** A budget: the width that one asks for by what it may cost, or by what it has to reach. */

import { html } from "./dom.js";

const DECIMALS = 6; // of a share: a goal is typed as what the read-out shows
const grouped = (number) =>
  Number(number.toPrecision(10)).toLocaleString("en", { maximumFractionDigits: 10 });
const short = (number, digits) => `${Number(number.toPrecision(digits))}`;
const countOf = (unit) => ({ says: (cost) => `${grouped(cost)} ${unit}`, over: grouped, start: String });
const BUDGETS = {
  parameters: { name: "parameters", label: "parameters, at most", ...countOf("parameters") },
  macs: { name: "MACs", label: "MACs, at most", ...countOf("MACs") },
  latency_ms: {
    name: "latency",
    label: "latency in ms, at most",
    says: (cost) => `${cost.toFixed(3)} ms`,
    over: (cost) => short(cost, 3),
    start: (cost) => Math.ceil(cost * 1000) / 1000,
  },
  accuracy: {
    name: "accuracy",
    label: "accuracy in %, at least",
    says: (share) => `${(share * 100).toFixed(2)}%`,
    // Rounded to what the width still reaches.
    start: (share) => Math.floor(Number((share * 1e4).toFixed(2))) / 100,
  },
};

/** Return the position that a budget asks for, or null, and why: the rules of `choose_width`. */
export function solveBudget(lists, kind, typed) {
  const { name, label, says, over } = BUDGETS[kind];
  const [number, widths, values] = [Number(typed), lists.width, lists[kind]];
  if (typed === "") return [null, `${name} must be a number, got nothing`];
  if (!(number > 0)) return [null, `${name} must be positive, got ${typed}`];
  const known = values.map((_, i) => i).filter((i) => values[i] !== null);
  const closest = (far) => known.reduce((best, i) => (far(values[i]) < far(values[best]) ? i : best));
  const has = (i) => `with ${says(values[i])}`;
  if (kind === "accuracy") {
    if (number > 100) return [null, `accuracy must lie in 0..100 %, got ${typed}`];
    const goal = Number((number / 100).toFixed(DECIMALS));
    const first = known.find((i) => values[i] >= goal);
    if (first !== undefined) return [first, `the first to reach ${short(number, 6)} %, ${has(first)}`];
    const near = closest((share) => goal - share);
    const lack = short(100 * (goal - values[near]), 3);
    return [null, `no width reaches ${short(number, 6)} %: width ${widths[near]} comes nearest, ` +
      `${has(near)}, ${lack} short; ease the goal or train longer`];
  }
  const last = known.filter((i) => values[i] <= number).at(-1);
  if (last !== undefined) return [last, `the last ${has(last)}, within ${grouped(number)}`];
  const near = closest((cost) => cost);
  return [null, `no width meets ${label} ${grouped(number)}: width ${widths[near]} comes nearest, ` +
    `${has(near)}, ${over(values[near] - number)} over; raise the budget`];
}

/** A menu of budgets, a number, and a button that moves to the width that they ask for. */
export function budget(spec, instrument) {
  const { by, by_width: lists } = spec;
  const kinds = Object.keys(BUDGETS);
  const menu = html("select", { "aria-label": "kind of budget" },
    ...kinds.map((kind) => html("option", { value: kind }, BUDGETS[kind].label)));
  const number = html("input", { type: "number", step: "any", "aria-label": "budget" });
  const go = html("button", { title: "Move the slider to this width" }, "Go");
  const rule = html("span", { class: "vsnn-note" });
  const element = html("div", { class: "vsnn-budget" },
    html("span", { class: "vsnn-label", "aria-hidden": "true" }, "budget"), menu, number, go, rule);
  let before = null;

  /** Start a kind of budget with what the width shown has, and move nothing. */
  function start() {
    const values = lists[menu.value];
    const timed = lists.width.filter((_, i) => values[i] !== null);
    const width = instrument.value(by);
    const own = timed.reduce((best, each) =>
      Math.abs(each - width) < Math.abs(best - width) ? each : best);
    number.value = BUDGETS[menu.value].start(values[lists.width.indexOf(own)]);
    const among = menu.value === "latency_ms" ? `largest within it of the ${timed.length} widths timed` : "largest width within it";
    rule.textContent = `takes the ${menu.value === "accuracy" ? "smallest width that reaches it" : among}`;
  }

  function ask() {
    const [index, says] = solveBudget(lists, menu.value, number.value);
    if (index !== null) instrument.move(by, index);
    instrument.say(index === null ? says : `width ${lists.width[index]} of ${spec.of}: ${says}`);
  }

  function show(positions) {
    // What the line said was about another width.
    if (before !== null && before !== positions[by]) instrument.say("");
    before = positions[by];
  }

  menu.addEventListener("change", start);
  go.addEventListener("click", ask);
  number.addEventListener("keydown", ({ key }) => { if (key === "Enter") ask(); });
  start();
  return { element, show };
}

/** Elements, and the few things that every part asks of the page. */

const SVG = "http://www.w3.org/2000/svg";
const FOCUSABLE = new Set(["button", "input", "select", "textarea"]);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  // Text only ever becomes text: what comes from a notebook or a file is never markup.
  node.append(...children.map((child) => (child instanceof Node ? child : `${child}`)));
  return node;
}

/** Return an HTML element. */
export function html(tag, attributes = {}, ...children) {
  // JupyterLab takes the arrow keys and Enter of a focused element unless it says otherwise.
  const own = FOCUSABLE.has(tag) ? { "data-lm-suppress-shortcuts": "true" } : {};
  if (tag === "button") own.type = "button";
  return fill(document.createElement(tag), { ...own, ...attributes }, children);
}

/** Return an SVG element. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Call back with the width of an element whenever it changes; return how to stop. */
export function onResize(element, callback) {
  let before = 0;
  const observer = new ResizeObserver(([entry]) => {
    const width = Math.round(entry.contentRect.width);
    if (width && width !== before) callback((before = width));
  });
  observer.observe(element);
  return () => observer.disconnect();
}

/** Return whether what lies behind an element is dark: the page's theme, whoever made the page. */
export function onDarkGround(element) {
  for (let node = element; node; node = node.parentElement ?? node.getRootNode().host) {
    const [red, green, blue, alpha = 1] =
      getComputedStyle(node).backgroundColor.match(/[\d.]+/g)?.map(Number) ?? [];
    if (red !== undefined && alpha > 0.5) return 0.299 * red + 0.587 * green + 0.114 * blue < 128;
  }
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

// Moves the atlas: one slider for the markers and read-outs of all tasks, one choice of the axis.
"use strict";
(() => {
  const root = document.currentScript.closest("[data-vsnn-instrument]");
  const { stops, tasks, template } = JSON.parse(root.querySelector("script").textContent);
  const slider = root.querySelector("input[type=range]");
  const share = root.querySelector("[data-readout=share]");
  const config = { displayModeBar: false, responsive: true };
  const found = (kind, { name }) => root.querySelector(`[data-${kind}="${CSS.escape(name)}"]`);
  const panels = tasks.map((task) => found("task", task));
  const cells = tasks.map((task) => [...found("row", task).querySelectorAll("td")]);
  let axis = "width";
  let asked = 0; // the frame in which a move will be shown

  /** Put a panel's marker, a stem and a ring, on the curve; without Plotly, which takes long. */
  function mark(panel, { layout, markers }, place) {
    const [x, y] = markers[place];
    const { l, r, t, b } = layout.margin;
    const share = (value, [low, high]) => (value - low) / (high - low);
    panel.classList.toggle("atlas-unmarked", x === null); // not measured there
    if (x === null) return;
    const across = share(Math.log10(x), layout.xaxis.range);
    const up = share(y, layout.yaxis.range);
    const places = {
      left: `calc(${l}px + ${across} * (100% - ${l + r}px))`,
      top: `${t + (1 - up) * (layout.height - t - b)}px`,
      foot: `${b}px`,
    };
    for (const [name, place] of Object.entries(places)) panel.style.setProperty(`--${name}`, place);
  }

  /** Show all tasks at the slider's share: numbers and markers in one frame. */
  function show() {
    asked = 0;
    const stop = Number(slider.value);
    share.textContent = stops[stop];
    slider.setAttribute("aria-valuetext", stops[stop]);
    tasks.forEach(({ shown, texts, figures }, index) => {
      const place = shown[stop];
      texts[place].forEach((text, column) => { cells[index][column].textContent = text; });
      if (figures[axis]) mark(panels[index], figures[axis], place);
    });
    root.dataset.shown = `${axis} ${stop}`;
  }

  /** Draw all panels against the chosen axis. */
  function draw() {
    axis = root.querySelector("input[type=radio]:checked").value;
    tasks.forEach(({ figures }, index) => {
      const figure = figures[axis];
      const plot = panels[index].querySelector(".atlas-plot");
      panels[index].classList.toggle("atlas-empty", !figure);
      if (figure) Plotly.react(plot, figure.data, { ...figure.layout, template }, config);
    });
    show();
  }

  slider.addEventListener("input", () => { asked ||= requestAnimationFrame(show); });
  root.querySelectorAll("input[type=radio]").forEach((each) => each.addEventListener("change", draw));
  draw();
})();

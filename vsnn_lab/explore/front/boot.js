// Starts an instrument of a saved notebook where nobody else does: a page made by nbconvert.
// `view` is the model of a widget whose state the page may hold, or null where the data are here.
((script, view) => {
  const held = (type) => document.querySelectorAll(`script[type="${type}"]`);

  function saved() {
    if (!view) return JSON.parse(script.previousElementSibling.textContent);
    for (const each of held("application/vnd.jupyter.widget-state+json")) {
      const found = JSON.parse(each.textContent).state[view];
      if (!found) continue;
      for (const { path, data } of found.buffers ?? []) {
        path.slice(0, -1).reduce((at, key) => at[key], found.state)[path.at(-1)] = data;
      }
      return found.state;
    }
    return null;
  }

  async function start() {
    // JupyterLab and Voila have a kernel, or restore widgets themselves.
    if (view && document.getElementById("jupyter-config-data")) return;
    const state = saved();
    if (!state) return;
    const host = document.createElement("div");
    // In place of what a widget manager, from another site, would draw there a second time.
    const views = [...held("application/vnd.jupyter.widget-view+json")];
    const place = views.find((each) => JSON.parse(each.textContent).model_id === view) ?? script;
    place.replaceWith(host);
    const style = document.createElement("style");
    style.textContent = state._css;
    document.head.append(style);
    const code = URL.createObjectURL(new Blob([state._esm], { type: "text/javascript" }));
    (await import(code)).mount(host, state);
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})

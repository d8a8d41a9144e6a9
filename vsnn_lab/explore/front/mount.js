/** Instruments where no kernel runs: a model that remembers, and nobody to tell. */

import { render } from "./instrument.js";

/** Return bytes of base64. */
function decode(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** Draw a saved instrument into an element. */
export function mount(host, { arrays, ...values }) {
  const held = Object.entries(arrays).map(([name, { data, ...rest }]) =>
    [name, { ...rest, data: typeof data === "string" ? decode(data) : data }]);
  const state = { status: "", ...values, arrays: Object.fromEntries(held) };
  const listeners = {};
  const model = {
    get: (name) => state[name],
    set(name, value) {
      if (state[name] === value) return;
      state[name] = value;
      (listeners[`change:${name}`] ?? []).forEach((callback) => callback());
    },
    on(event, callback) { (listeners[event] ??= []).push(callback); },
    off(event, callback) { listeners[event] = listeners[event]?.filter((each) => each !== callback); },
    save_changes() {},
    send() {},
  };
  return render({ model, el: host });
}

export default { render };

/** A dense network at any width, run in the page: what `export/dense.py` packs. */

const SLICE = 8; // milliseconds of work after which the page may do something else

/** The error function, to 1.5e-7: Abramowitz and Stegun, 7.1.26. */
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const terms = [1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592];
  return Math.sign(x) * (1 - t * terms.reduce((sum, term) => sum * t + term, 0) * Math.exp(-x * x));
}

const ACTIVATIONS = {
  relu: (x) => Math.max(0, x),
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  tanh: Math.tanh,
  silu: (x) => x / (1 + Math.exp(-x)),
  gelu: (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
  gelu_tanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  leaky_relu: (x, slope) => (x < 0 ? slope * x : x),
};

/** Return numbers of half precision, little endian, as ones that every browser computes with. */
function decodeHalves(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const numbers = new Float32Array(bytes.byteLength / 2);
  const bits = new Uint32Array(numbers.buffer);
  for (let i = 0; i < numbers.length; i += 1) {
    const half = view.getUint16(2 * i, true);
    const sign = half & 0x8000;
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    if (exponent) bits[i] = (sign << 16) | ((exponent + 112) << 23) | (fraction << 13);
    else numbers[i] = (sign ? -fraction : fraction) * 2 ** -24;
  }
  return numbers;
}

/**
 * Return a network: `widths`; `run(input, width)`, and `runAll(input, widths, stale)`, which
 * promises what each width gives, or null if it is `stale()` before the end.
 */
export function denseNetwork({ steps, layers }, bytes) {
  const numbers = decodeHalves(bytes);
  const widths = Array.from({ length: steps }, (_, i) => i + 1);
  // Of a layer that takes as many units at every width, narrow outputs are the first of wide ones.
  const fixed = layers.map(({ columns }) => columns.every((count) => count === columns[0]));

  function apply({ then }, table, input, rows, columns) {
    const output = new Float32Array(rows);
    for (let row = 0; row < rows; row += 1) {
      let sum = table.bias === null ? 0 : numbers[table.bias + row];
      const start = table.weight + row * table.columns;
      for (let i = 0; i < columns; i += 1) sum += numbers[start + i] * input[i];
      output[row] = sum;
    }
    for (const [name, ...options] of then) {
      const activation = ACTIVATIONS[name];
      for (let row = 0; row < rows; row += 1) output[row] = activation(output[row], ...options);
    }
    return output;
  }

  /** Run at a width; `memo` holds what other widths with the same input left that is alike. */
  function run(input, width, memo = null) {
    let units = input;
    let alike = memo !== null;
    let path = "";
    layers.forEach((layer, i) => {
      const table = layer.tables.find(({ top }) => width <= top);
      const columns = layer.columns[width - 1];
      alike &&= fixed[i];
      path += `${table.top} `;
      if (alike && memo[i]?.path === path) return void (units = memo[i].units);
      const rows = layer.rows[(alike ? table.top : width) - 1];
      units = apply(layer, table, units, rows, columns);
      if (alike) memo[i] = { path, units };
    });
    return units;
  }

  async function runAll(input, wanted = widths, stale = () => false) {
    const memo = [];
    const found = [];
    let since = performance.now();
    for (const width of wanted) {
      if (performance.now() - since > SLICE) {
        await new Promise((resume) => setTimeout(resume));
        if (stale()) return null;
        since = performance.now();
      }
      found.push(run(input, width, memo));
    }
    return found;
  }

  return { widths, run: (input, width) => run(input, width), runAll };
}

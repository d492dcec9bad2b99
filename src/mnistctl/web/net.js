// Runs a net: an interpreter for the operators of the graphs that mnistctl exports.
//
// A graph is a list of nodes as in ONNX. All tensors have a batch of one image. They hold float64,
// which is twice as fast as float32 here, since JavaScript computes in float64 anyway.

/**
 * @typedef {{ shape: number[], data: Float64Array }} Tensor
 * @typedef {number | number[]} Attribute
 * @typedef {{ op: string, inputs: string[], outputs: string[], attributes: Record<string, Attribute> }} GraphNode
 * @typedef {{ shape: number[], type: string, offset: number, scales?: number }} Stored
 * @typedef {{ opset: number, input: string, nodes: GraphNode[], tensors: Record<string, Stored>,
 *   integers: Record<string, number[]> }} Graph
 * @typedef {{ node: GraphNode, tensor: Tensor }} Activation
 * @typedef {{ logits: Float64Array, probabilities: Float64Array, familiarity: number,
 *   activations: Activation[] }} Outputs
 * @typedef {(inputs: Tensor[], node: GraphNode, net: Net) => Tensor} Operator
 */

const BLOCK = 4; // outputs and places of a convolution that are computed together; 2 bits of an index

export class Net {
  /**
   * @param {Graph} graph
   * @param {ArrayBuffer} weights the bytes of all stored tensors
   */
  constructor(graph, weights) {
    this.graph = graph;
    /** @type {Map<string, Tensor>} constants and, while the net runs, everything it has computed */
    this.values = new Map();
    /** @type {Map<GraphNode, Float64Array>} the weights of convolutions, rearranged for speed */
    this.kernels = new Map();
    for (const [name, stored] of Object.entries(graph.tensors)) {
      this.values.set(name, { shape: stored.shape, data: unpack(stored, weights) });
    }
  }

  /**
   * Classify an image.
   * @param {Uint8Array} image 28×28 pixels, 0 = paper, 255 = ink
   * @returns {Outputs}
   */
  run(image) {
    const { values, graph } = this;
    values.set(graph.input, { shape: [1, 28, 28], data: Float64Array.from(image) });
    /** @type {Activation[]} */
    const activations = [];
    for (const node of graph.nodes) {
      const inputs = node.inputs.flatMap((name) => values.get(name) ?? []);
      const tensor = OPERATORS[node.op](inputs, node, this);
      values.set(node.outputs[0], tensor);
      activations.push({ node, tensor });
    }
    return {
      logits: this.value("logits").data,
      probabilities: this.value("probabilities").data,
      familiarity: this.value("familiarity").data[0],
      activations,
    };
  }

  /**
   * @param {string} name
   * @returns {Tensor}
   */
  value(name) {
    const tensor = this.values.get(name);
    if (!tensor) throw new Error(`the graph has no value '${name}'`);
    return tensor;
  }

  /**
   * The integers of a node's input, such as a shape.
   * @param {GraphNode} node
   * @param {number} index of the input
   * @returns {number[]}
   */
  integers(node, index) {
    return this.graph.integers[node.inputs[index]] ?? [];
  }
}

/**
 * The numbers of a stored tensor.
 * @param {Stored} stored
 * @param {ArrayBuffer} weights
 * @returns {Float64Array}
 */
function unpack(stored, weights) {
  const count = product(stored.shape);
  if (stored.type === "float32") {
    return Float64Array.from(new Float32Array(weights, stored.offset, count));
  }
  if (stored.type === "float16") {
    return Float64Array.from(new Uint16Array(weights, stored.offset, count), halfToNumber);
  }
  const scales = new Float32Array(weights, stored.scales, stored.shape[0]);
  const size = count / stored.shape[0];
  const steps = new Int8Array(weights, stored.offset, count);
  return Float64Array.from(steps, (step, index) =>
    Math.fround(step * scales[Math.floor(index / size)]),
  );
}

/**
 * @param {number} bits of a float16
 * @returns {number}
 */
function halfToNumber(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/**
 * @param {number[]} shape
 * @returns {number}
 */
function product(shape) {
  return shape.reduce((total, side) => total * side, 1);
}

/**
 * @param {(value: number) => number} change
 * @returns {Operator}
 */
function elementwise(change) {
  return ([input]) => {
    const data = new Float64Array(input.data.length);
    for (let index = 0; index < data.length; index++) data[index] = change(input.data[index]);
    return { shape: input.shape, data };
  };
}

/**
 * An operator with two inputs, of which the second is one number or as large as the first.
 * @param {(left: number, right: number) => number} combine
 * @returns {Operator}
 */
function binary(combine) {
  return ([left, right]) => {
    const step = right.data.length === 1 ? 0 : 1;
    return {
      shape: left.shape,
      data: left.data.map((value, index) => combine(value, right.data[index * step])),
    };
  };
}

/**
 * The sizes of a window that moves over feature maps.
 * @param {Tensor} input (1, C, H, W)
 * @param {GraphNode} node
 * @param {number[]} kernel its height and width
 */
function slide(input, node, kernel) {
  const [strideY, strideX] = list(node, "strides", [1, 1]);
  const [dilationY, dilationX] = list(node, "dilations", [1, 1]);
  const [top, left, bottom, right] = list(node, "pads", [0, 0, 0, 0]);
  const [, channels, height, width] = input.shape;
  const round = node.attributes.ceil_mode ? Math.ceil : Math.floor;
  /** @type {(side: number, pads: number, size: number, dilation: number, stride: number) => number} */
  const places = (side, pads, size, dilation, stride) =>
    round((side + pads - dilation * (size - 1) - 1) / stride) + 1;
  return {
    channels,
    height,
    width,
    top,
    left,
    strideY,
    strideX,
    dilationY,
    dilationX,
    kernelY: kernel[0],
    kernelX: kernel[1],
    rows: places(height, top + bottom, kernel[0], dilationY, strideY),
    columns: places(width, left + right, kernel[1], dilationX, strideX),
  };
}

/**
 * @param {GraphNode} node
 * @param {string} name of an attribute
 * @param {number[]} otherwise
 * @returns {number[]}
 */
function list(node, name, otherwise) {
  const value = node.attributes[name];
  return Array.isArray(value) ? value : otherwise;
}

/** @type {Operator} */
function convolve([input, weight, bias], node, net) {
  const outputs = weight.shape[0];
  const window = slide(input, node, weight.shape.slice(2));
  const places = window.rows * window.columns;
  const size = product(weight.shape.slice(1));
  let kernels = net.kernels.get(node);
  if (!kernels) {
    kernels = interleave(outputs, size, (output, index) => weight.data[output * size + index]);
    net.kernels.set(node, kernels);
  }
  const patches = gather(input, window, size);
  const data = new Float64Array(outputs * places);
  multiply(kernels, patches, size, data, outputs, places);
  if (bias) {
    for (let output = 0; output < outputs; output++) {
      for (let place = output * places; place < (output + 1) * places; place++)
        data[place] += bias.data[output];
    }
  }
  return { shape: [1, outputs, window.rows, window.columns], data };
}

/**
 * Rows in groups of four, the four values of a column side by side. Missing rows are 0.
 * @param {number} rows
 * @param {number} columns
 * @param {(row: number, column: number) => number} value
 */
function interleave(rows, columns, value) {
  const result = new Float64Array(Math.ceil(rows / BLOCK) * BLOCK * columns);
  for (let row = 0; row < rows; row++) {
    const start = (row - (row % BLOCK)) * columns + (row % BLOCK);
    for (let column = 0; column < columns; column++)
      result[start + BLOCK * column] = value(row, column);
  }
  return result;
}

/**
 * The pixels under the window at each of its places, interleaved as `interleave` does.
 * @param {Tensor} input (1, C, H, W)
 * @param {ReturnType<typeof slide>} window
 * @param {number} size of a patch
 */
function gather(input, window, size) {
  const group = BLOCK * size;
  const patches = new Float64Array(Math.ceil((window.rows * window.columns) / BLOCK) * group);
  let offset = 0;
  for (let channel = 0; channel < window.channels; channel++) {
    for (let kernelY = 0; kernelY < window.kernelY; kernelY++) {
      const top = kernelY * window.dilationY - window.top;
      for (let kernelX = 0; kernelX < window.kernelX; kernelX++, offset += BLOCK) {
        // The columns at which the window's pixel is inside the map; elsewhere it is 0.
        const left = kernelX * window.dilationX - window.left;
        const first = Math.max(0, Math.ceil(-left / window.strideX));
        const end = Math.min(window.columns, Math.ceil((window.width - left) / window.strideX));
        for (let row = 0; row < window.rows; row++) {
          const y = row * window.strideY + top;
          if (y < 0 || y >= window.height) continue;
          let source = (channel * window.height + y) * window.width + first * window.strideX + left;
          for (let place = row * window.columns + first; place < row * window.columns + end; place++) {
            patches[(place >> 2) * group + offset + (place & 3)] = input.data[source];
            source += window.strideX;
          }
        }
      }
    }
  }
  return patches;
}

/**
 * Multiply kernels with patches, sixteen products at a time, so that each number that is loaded is used
 * four times.
 * @param {Float64Array} kernels interleaved, of `size` numbers each
 * @param {Float64Array} patches interleaved, of `size` numbers each
 * @param {number} size
 * @param {Float64Array} result (outputs, places)
 * @param {number} outputs
 * @param {number} places
 */
function multiply(kernels, patches, size, result, outputs, places) {
  for (let output = 0; output < outputs; output += BLOCK) {
    for (let place = 0; place < places; place += BLOCK) {
      let a0 = 0,
        a1 = 0,
        a2 = 0,
        a3 = 0,
        b0 = 0,
        b1 = 0,
        b2 = 0,
        b3 = 0;
      let c0 = 0,
        c1 = 0,
        c2 = 0,
        c3 = 0,
        d0 = 0,
        d1 = 0,
        d2 = 0,
        d3 = 0;
      for (
        let k = output * size, p = place * size, end = k + BLOCK * size;
        k < end;
        k += BLOCK, p += BLOCK
      ) {
        const ka = kernels[k],
          kb = kernels[k + 1],
          kc = kernels[k + 2],
          kd = kernels[k + 3];
        const p0 = patches[p],
          p1 = patches[p + 1],
          p2 = patches[p + 2],
          p3 = patches[p + 3];
        a0 += ka * p0;
        a1 += ka * p1;
        a2 += ka * p2;
        a3 += ka * p3;
        b0 += kb * p0;
        b1 += kb * p1;
        b2 += kb * p2;
        b3 += kb * p3;
        c0 += kc * p0;
        c1 += kc * p1;
        c2 += kc * p2;
        c3 += kc * p3;
        d0 += kd * p0;
        d1 += kd * p1;
        d2 += kd * p2;
        d3 += kd * p3;
      }
      // A group of four that is not full has no values after the last one.
      const columns = places - place;
      put(result, output * places + place, columns, a0, a1, a2, a3);
      if (output + 1 < outputs) put(result, (output + 1) * places + place, columns, b0, b1, b2, b3);
      if (output + 2 < outputs) put(result, (output + 2) * places + place, columns, c0, c1, c2, c3);
      if (output + 3 < outputs) put(result, (output + 3) * places + place, columns, d0, d1, d2, d3);
    }
  }
}

/**
 * Put up to four values side by side.
 * @param {Float64Array} result
 * @param {number} index of the first
 * @param {number} count
 * @param {number} first
 * @param {number} second
 * @param {number} third
 * @param {number} fourth
 */
function put(result, index, count, first, second, third, fourth) {
  result[index] = first;
  if (count > 1) result[index + 1] = second;
  if (count > 2) result[index + 2] = third;
  if (count > 3) result[index + 3] = fourth;
}

/**
 * @param {number} start
 * @param {(total: number, value: number) => number} combine
 * @param {(total: number, size: number) => number} finish
 * @returns {Operator}
 */
function pool(start, combine, finish) {
  return ([input], node) => {
    const window = slide(input, node, list(node, "kernel_shape", [1, 1]));
    const { channels, height, width, rows, columns, kernelY, kernelX } = window;
    const data = new Float64Array(channels * rows * columns);
    let index = 0;
    for (let channel = 0; channel < channels; channel++) {
      for (let row = 0; row < rows; row++) {
        const startY = row * window.strideY - window.top;
        const [top, bottom] = [Math.max(startY, 0), Math.min(startY + kernelY, height)];
        for (let column = 0; column < columns; column++) {
          const startX = column * window.strideX - window.left;
          const left = Math.max(startX, 0);
          const right = Math.min(startX + kernelX, width);
          let total = start;
          for (let y = top; y < bottom; y++) {
            const line = (channel * height + y) * width;
            for (let x = line + left; x < line + right; x++) total = combine(total, input.data[x]);
          }
          data[index++] = finish(total, kernelY * kernelX);
        }
      }
    }
    return { shape: [1, channels, rows, columns], data };
  };
}

/** @type {Operator} */
function normalise([input, scale, bias, mean, variance], node) {
  const size = product(input.shape.slice(2));
  const data = input.data.map((value, index) => {
    const channel = Math.floor(index / size);
    const deviation = Math.sqrt(variance.data[channel] + Number(node.attributes.epsilon));
    return ((value - mean.data[channel]) / deviation) * scale.data[channel] + bias.data[channel];
  });
  return { shape: input.shape, data };
}

/** @type {Operator} */
function gemm([input, weight, bias], node) {
  const [rows, columns] = weight.shape;
  const outputs = node.attributes.transB ? rows : columns;
  const inputs = input.data.length;
  const [stepOutput, stepInput] = node.attributes.transB ? [inputs, 1] : [1, outputs];
  const data = new Float64Array(outputs);
  for (let output = 0; output < outputs; output++) {
    let sum = bias ? bias.data[bias.data.length === 1 ? 0 : output] : 0;
    for (let index = 0; index < inputs; index++) {
      sum += input.data[index] * weight.data[output * stepOutput + index * stepInput];
    }
    data[output] = sum;
  }
  return { shape: [1, outputs], data };
}

/** @type {Operator} */
function transpose([input], node) {
  const order = list(node, "perm", []);
  const strides = input.shape.map((_, axis) => product(input.shape.slice(axis + 1)));
  const shape = order.map((axis) => input.shape[axis]);
  const data = new Float64Array(input.data.length);
  for (let index = 0; index < data.length; index++) {
    let rest = index;
    let source = 0;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      source += (rest % shape[axis]) * strides[order[axis]];
      rest = Math.floor(rest / shape[axis]);
    }
    data[index] = input.data[source];
  }
  return { shape, data };
}

/** @type {Operator} */
function reshape([input], node, net) {
  const sides = net.integers(node, 1).map((side, axis) => (side === 0 ? input.shape[axis] : side));
  const rest = input.data.length / product(sides.filter((side) => side !== -1));
  return { shape: sides.map((side) => (side === -1 ? rest : side)), data: input.data };
}

/** @type {Operator} */
function unsqueeze([input], node, net) {
  const shape = [...input.shape];
  for (const axis of net.integers(node, 1)) shape.splice(axis, 0, 1);
  return { shape, data: input.data };
}

/** @type {Operator} */
function squeeze([input], node, net) {
  const axes = net.integers(node, 1);
  return { shape: input.shape.filter((_, axis) => !axes.includes(axis)), data: input.data };
}

/** @type {Operator} */
function concatenate(inputs, node) {
  // The axis is that of the members of an ensemble, or of features with a batch of one before them.
  const axis = Number(node.attributes.axis);
  const shape = [...inputs[0].shape];
  shape[axis] = inputs.reduce((total, input) => total + input.shape[axis], 0);
  const data = new Float64Array(product(shape));
  let offset = 0;
  for (const input of inputs) {
    data.set(input.data, offset);
    offset += input.data.length;
  }
  return { shape, data };
}

/** @type {Operator} */
function logSoftmax([input]) {
  const largest = Math.max(...input.data);
  const sum = input.data.reduce((total, value) => total + Math.exp(value - largest), 0);
  return { shape: input.shape, data: input.data.map((value) => value - largest - Math.log(sum)) };
}

/**
 * An operator that reduces the members of an ensemble or, with a batch of one, the classes.
 * @param {(values: number[]) => number} summarise
 * @returns {Operator}
 */
function reduce(summarise) {
  return ([input], node, net) => {
    const [axis] = net.integers(node, 1).length ? net.integers(node, 1) : list(node, "axes", [0]);
    const count = input.shape[axis];
    const size = input.data.length / count; // the other axes: classes, and a batch of one
    const data = new Float64Array(size);
    for (let index = 0; index < size; index++) {
      data[index] = summarise(
        Array.from({ length: count }, (_, member) => input.data[member * size + index]),
      );
    }
    return { shape: input.shape.filter((_, other) => other !== axis), data };
  };
}

/** @param {number[]} values */
function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

/** @param {number[]} values */
function logSumExp(values) {
  const largest = Math.max(...values);
  return largest + Math.log(sum(values.map((value) => Math.exp(value - largest))));
}

/**
 * As Math.max of two numbers, but faster as an argument.
 * @param {number} one
 * @param {number} other
 */
function larger(one, other) {
  return Math.max(one, other);
}

/** @type {Record<string, Operator>} */
const OPERATORS = {
  Add: binary((left, right) => left + right),
  AveragePool: pool(
    0,
    (total, value) => total + value,
    (total, size) => total / size,
  ),
  BatchNormalization: normalise,
  Cast: ([input]) => input,
  Concat: concatenate,
  Conv: convolve,
  Div: binary((left, right) => left / right),
  Exp: elementwise(Math.exp),
  Gemm: gemm,
  LogSoftmax: logSoftmax,
  MaxPool: pool(-Infinity, larger, (total) => total),
  ReduceLogSumExp: reduce(logSumExp),
  ReduceMax: reduce((values) => Math.max(...values)),
  ReduceMean: reduce((values) => sum(values) / values.length),
  Relu: elementwise((value) => larger(value, 0)),
  Reshape: reshape,
  Sigmoid: elementwise((value) => 1 / (1 + Math.exp(-value))),
  Softmax: (inputs, node, net) => elementwise(Math.exp)([logSoftmax(inputs, node, net)], node, net),
  Squeeze: squeeze,
  Sub: binary((left, right) => left - right),
  Tanh: elementwise(Math.tanh),
  Transpose: transpose,
  Unsqueeze: unsqueeze,
};

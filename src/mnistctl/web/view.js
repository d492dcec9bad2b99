// Shows a reading: the answer, the probabilities, the image, the evidence, and the net at work.

import { pen2d } from "./pad.js";
import { IMAGE_SIDE } from "./prepare.js";
import { SEVERAL } from "./reading.js";

/** @import { Activation, Net, Tensor } from "./net.js" */
/** @import { Candidate, Reading } from "./reading.js" */

const MAX_BARS = 10; // classes whose probabilities are shown
const MAP_COLUMNS = 16; // feature maps side by side
const MAP_SIDE = 32; // CSS pixels of a feature map, at most

/** @typedef {[number, number, number]} Colour red, green and blue, 0 to 255 */
/** @typedef {{ paper: Colour, ink: Colour, positive: Colour, negative: Colour }} Palette */
/** @typedef {Activation & { member: number }} Layer of an ensemble's member, from 1 */

/**
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export function element(id) {
  return /** @type {T} */ (document.getElementById(id));
}

/**
 * @param {string} tag
 * @param {string} className
 * @param {string} [text]
 */
function create(tag, className, text = "") {
  const created = document.createElement(tag);
  created.className = className;
  created.textContent = text;
  return created;
}

/** @returns {Palette} the colours of the theme */
function palette() {
  const style = getComputedStyle(document.documentElement);
  /** @type {(name: string) => Colour} */
  const colour = (name) => {
    const digits = style.getPropertyValue(name).trim().slice(1);
    const parts = [0, 2, 4].map((start) => parseInt(digits.slice(start, start + 2), 16));
    return /** @type {Colour} */ (parts);
  };
  return {
    paper: colour("--sheet"),
    ink: colour("--ink"),
    positive: colour("--positive"),
    negative: colour("--negative"),
  };
}

/** @param {number} share from 0 to 1 */
function percent(share) {
  const value = 100 * share;
  if (value > 99.9 && value < 100) return "> 99.9%";
  if (value > 0 && value < 0.1) return "< 0.1%";
  return `${value.toFixed(value === 100 || value === 0 ? 0 : 1)}%`;
}

/**
 * Show the answer in large letters.
 * @param {Reading | null} reading null: nothing is drawn
 * @param {string} problem with a file; it is shown instead
 */
export function showAnswer(reading, problem) {
  const best = problem ? undefined : reading?.ranking[0];
  const reason = problem ? null : reading?.reason;
  element("label").textContent = (reason ? "?" : best?.label) ?? "–";
  element("label").classList.toggle("long", !reason && (best?.label.length ?? 0) > 2);
  element("answer").classList.toggle("rejected", Boolean(reason));
  element("verdict").textContent = problem || verdict(best, reason);
}

/**
 * @param {Candidate | undefined} best
 * @param {string | null | undefined} reason
 * @returns {string}
 */
function verdict(best, reason) {
  if (reason === "blank") return "Nothing stands out from the paper.";
  if (reason === SEVERAL) return "Several digits: draw one at a time.";
  if (!best) return "Draw, or open a picture.";
  if (reason) return `Rejected: ${reason}. The closest is ${best.label}.`;
  return `Probability ${percent(best.probability)}`;
}

/** Tell screen readers the answer, unless they have been told. */
export function announce() {
  const [label, details] = ["label", "verdict"].map((id) => element(id).textContent);
  const text = label === "–" ? `${details}` : `${label}. ${details}`;
  if (element("status").textContent !== text) element("status").textContent = text;
}

/**
 * Show the probabilities: of all classes in their order, or of the most likely ones.
 * @param {Reading | null} reading
 * @param {string[]} classNames
 */
export function showBars(reading, classNames) {
  const ranking = reading?.ranking.length
    ? reading.ranking
    : classNames.map((label, index) => ({ label, index, probability: 0 }));
  const shown = ranking.slice(0, MAX_BARS);
  if (classNames.length <= MAX_BARS) shown.sort((one, other) => one.index - other.index);
  element("bars").replaceChildren(
    ...shown.map((candidate) => {
      const row = create("li", candidate === reading?.ranking[0] ? "best" : "");
      const track = create("span", "track");
      const bar = create("span", "bar");
      bar.style.width = `${100 * candidate.probability}%`;
      track.append(bar);
      row.append(
        create("b", "", candidate.label),
        track,
        create("span", "share", reading ? percent(candidate.probability) : ""),
      );
      return row;
    }),
  );
}

/**
 * Fill a canvas with pixels.
 * @param {HTMLCanvasElement} canvas
 * @param {number} width
 * @param {number} height
 * @param {(index: number) => number} colour of a pixel, as `pack` returns it
 */
function paint(canvas, width, height, colour) {
  canvas.width = width;
  canvas.height = height;
  const pixels = new Uint32Array(width * height);
  for (let index = 0; index < pixels.length; index++) pixels[index] = colour(index);
  const bytes = new Uint8ClampedArray(pixels.buffer);
  pen2d(canvas).putImageData(new ImageData(bytes, width, height), 0, 0);
}

/**
 * A colour as the four bytes of a canvas's pixel.
 * @param {Colour} colour
 */
function pack([red, green, blue]) {
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/**
 * @param {Colour} from
 * @param {Colour} to
 * @param {number} share
 * @returns {Colour}
 */
function mix(from, to, share) {
  return /** @type {Colour} */ (from.map((value, index) => value + (to[index] - value) * share));
}

/**
 * 256 colours from one to another.
 * @param {Colour} from
 * @param {Colour} to
 */
function ramp(from, to) {
  return Array.from({ length: 256 }, (_, index) => pack(mix(from, to, index / 255)));
}

/** @param {Uint8Array} image 28×28 pixels */
export function showImage(image) {
  const { paper, ink } = palette();
  const colours = ramp(paper, ink);
  paint(element("image"), IMAGE_SIDE, IMAGE_SIDE, (index) => colours[image[index]]);
}

/**
 * Show what in the image speaks for two answers, and what against them.
 * @param {Uint8Array} image
 * @param {string[]} labels
 * @param {Float64Array[]} maps see `evidence`; none: it is not known yet
 */
export function showEvidence(image, labels, maps) {
  const { paper, ink, positive, negative } = palette();
  const faint = mix(paper, ink, 0.25);
  const largest = Math.max(1e-9, ...maps.flatMap((map) => Array.from(map, Math.abs)));
  ["first", "second"].forEach((name, number) => {
    const map = maps[number];
    paint(element(`${name}-evidence`), IMAGE_SIDE, IMAGE_SIDE, (index) => {
      const strength = map ? Math.min(1, (1.5 * Math.abs(map[index])) / largest) : 0;
      const colour = mix(faint, map?.[index] > 0 ? positive : negative, strength);
      return pack(mix(paper, colour, image[index] / 255));
    });
    element(`${name}-caption`).textContent = labels[number] ?? `the ${name} answer`;
  });
}

const LAYER_NAMES = /** @type {Record<string, string>} */ ({
  AveragePool: "Average pooling",
  BatchNormalization: "Batch normalization",
  Conv: "Convolution",
  Gemm: "Fully connected",
  MaxPool: "Max pooling",
  Relu: "ReLU",
  Tanh: "tanh",
});

/**
 * The layers that lead to the logits, in their order.
 * @param {Activation[]} activations
 * @returns {Layer[]}
 */
function layersOf(activations) {
  const needed = new Set(["logits"]);
  const path = [];
  for (const activation of [...activations].reverse()) {
    const { node } = activation;
    if (!node.outputs.some((name) => needed.has(name))) continue;
    for (const name of node.inputs) needed.add(name);
    path.unshift(activation);
  }
  const layers = [];
  const afterLayers = new Set(); // values that depend on a layer
  let member = 0;
  for (const activation of path) {
    const { node } = activation;
    const isLayer = node.op in LAYER_NAMES;
    const isAfterLayer = node.inputs.some((name) => afterLayers.has(name));
    if (isLayer && !isAfterLayer) member++; // the first layer of a net
    if (isLayer) layers.push({ ...activation, member });
    if (isLayer || isAfterLayer) for (const name of node.outputs) afterLayers.add(name);
  }
  return layers;
}

/**
 * Show the feature maps of every layer.
 * @param {Net} net
 * @param {Activation[]} activations none: the net has not run
 */
export function showLayers(net, activations) {
  const { paper, positive, negative } = palette();
  const [warm, cold] = [ramp(paper, positive), ramp(paper, negative)];
  const list = element("layers");
  const layers = layersOf(activations);
  const members = layers[layers.length - 1]?.member ?? 1;
  while (list.children.length > layers.length) list.lastElementChild?.remove();
  layers.forEach(({ node, tensor, member }, number) => {
    let row = list.children[number];
    if (!row) {
      row = create("li", "");
      row.append(create("p", ""), document.createElement("canvas"));
      list.append(row);
    }
    const [title, canvas] = row.children;
    const [, maps, height = 1, width = 1] = tensor.shape;
    const size = height * width > 1 ? `${maps} maps of ${width}×${height}` : `${maps} units`;
    const kernel = node.op === "Conv" && net.values.get(node.inputs[1])?.shape.slice(2).join("×");
    const name = `${LAYER_NAMES[node.op]}${kernel ? ` ${kernel}` : ""}`;
    title.textContent = `${members > 1 ? `Net ${member}: ` : ""}${name} · ${size}`;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "The layer's output");
    paintMaps(/** @type {HTMLCanvasElement} */ (canvas), tensor, warm, cold);
  });
}

/**
 * Paint feature maps side by side; a vector is painted as maps of one pixel.
 * @param {HTMLCanvasElement} canvas
 * @param {Tensor} tensor
 * @param {number[]} warm colours from 0 to the largest value
 * @param {number[]} cold colours from 0 to the smallest value
 */
function paintMaps(canvas, { shape, data }, warm, cold) {
  const [, maps, height = 1, width = 1] = shape;
  const isVector = height * width === 1;
  const columns = Math.min(maps, isVector ? 4 * MAP_COLUMNS : MAP_COLUMNS);
  const gap = isVector ? 0 : 1;
  const [stepX, stepY] = [width + gap, height + gap];
  const line = columns * stepX - gap;
  const largest = data.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-9);
  paint(canvas, line, Math.ceil(maps / columns) * stepY - gap, (index) => {
    const [x, y] = [index % line, Math.floor(index / line)];
    const map = Math.floor(y / stepY) * columns + Math.floor(x / stepX);
    if (map >= maps || x % stepX >= width || y % stepY >= height) return warm[0];
    const value = data[(map * height + (y % stepY)) * width + (x % stepX)] / largest;
    return (value < 0 ? cold : warm)[Math.round(255 * Math.abs(value) ** 0.7)];
  });
  canvas.style.width = `${columns * (isVector ? MAP_SIDE / 4 : MAP_SIDE)}px`;
}

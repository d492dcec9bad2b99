// Shows a reading: the answer, the probabilities, the image, the evidence, and the net at work.

import { pen2d } from "./pad.js";
import { IMAGE_SIDE } from "./prepare.js";
import { SEVERAL } from "./reading.js";

/** @import { Activation, Net, Tensor } from "./net.js" */
/** @import { Reading } from "./reading.js" */

const MAX_BARS = 10; // classes whose probabilities are shown
const MAP_COLUMNS = 16; // feature maps side by side
const MAP_SIDE = 32; // CSS pixels of a feature map, at most

/** @typedef {[number, number, number]} Colour red, green and blue, 0 to 255 */
/** @typedef {{ paper: Colour, ink: Colour, positive: Colour, negative: Colour }} Palette */

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
 */
export function showAnswer(reading) {
  const best = reading?.ranking[0];
  const isRejected = Boolean(reading?.reason);
  element("label").textContent = best && !isRejected ? best.label : best ? "?" : "–";
  element("label").classList.toggle("long", Boolean(best && !isRejected && best.label.length > 2));
  element("answer").classList.toggle("rejected", isRejected);
  let verdict = "Draw, or open a picture.";
  if (reading?.reason === "blank") verdict = "Nothing stands out from the paper.";
  else if (reading?.reason === SEVERAL) verdict = "Several digits. Draw one at a time.";
  else if (best && reading?.reason)
    verdict = `Rejected: ${reading.reason}. The closest is ${best.label}.`;
  else if (best) verdict = `${percent(best.probability)} probable`;
  element("verdict").textContent = verdict;
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
        create("span", "share", percent(candidate.probability)),
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
 * @param {(index: number) => Colour} colour of a pixel
 */
function paint(canvas, width, height, colour) {
  canvas.width = width;
  canvas.height = height;
  const pen = pen2d(canvas);
  const picture = pen.createImageData(width, height);
  for (let index = 0; index < width * height; index++) {
    picture.data.set(colour(index), 4 * index);
    picture.data[4 * index + 3] = 255;
  }
  pen.putImageData(picture, 0, 0);
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

/** @param {Uint8Array} image 28×28 pixels */
export function showImage(image) {
  const { paper, ink } = palette();
  paint(element("image"), IMAGE_SIDE, IMAGE_SIDE, (index) => mix(paper, ink, image[index] / 255));
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
    const canvas = element(`${name}-evidence`);
    paint(/** @type {HTMLCanvasElement} */ (canvas), IMAGE_SIDE, IMAGE_SIDE, (index) => {
      const strength = map ? Math.min(1, (1.5 * Math.abs(map[index])) / largest) : 0;
      const colour = mix(faint, map?.[index] > 0 ? positive : negative, strength);
      return mix(paper, colour, image[index] / 255);
    });
    element(`${name}-caption`).textContent =
      labels[number] === undefined ? "" : `for ${labels[number]}`;
  });
}

const LAYER_NAMES = /** @type {Record<string, string>} */ ({
  Conv: "Convolution",
  Gemm: "Fully connected",
  MaxPool: "Maximum",
  AveragePool: "Average",
  Relu: "ReLU",
  Tanh: "tanh",
  BatchNormalization: "Batch norm",
});

/**
 * The layers that lead to the logits, in their order.
 * @param {Activation[]} activations
 * @returns {Activation[]}
 */
function layersOf(activations) {
  const needed = new Set(["logits"]);
  const layers = [];
  for (const activation of [...activations].reverse()) {
    const { node } = activation;
    if (!node.outputs.some((name) => needed.has(name))) continue;
    for (const name of node.inputs) needed.add(name);
    if (node.op in LAYER_NAMES) layers.unshift(activation);
  }
  return layers;
}

/**
 * Show the feature maps of every layer.
 * @param {Net} net
 * @param {Activation[]} activations none: the net has not run
 */
export function showLayers(net, activations) {
  const colours = palette();
  const list = element("layers");
  const layers = layersOf(activations);
  while (list.children.length > layers.length) list.lastElementChild?.remove();
  layers.forEach(({ node, tensor }, number) => {
    let row = list.children[number];
    if (!row) {
      row = create("li", "");
      row.append(create("p", ""), document.createElement("canvas"));
      list.append(row);
    }
    const [title, canvas] = row.children;
    const [, maps, height = 1, width = 1] = tensor.shape;
    const size = height * width > 1 ? `${maps} maps of ${width}×${height}` : `${maps} numbers`;
    const kernel = node.op === "Conv" && net.values.get(node.inputs[1])?.shape.slice(2).join("×");
    title.textContent = `${LAYER_NAMES[node.op]}${kernel ? ` ${kernel}` : ""} · ${size}`;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${title.textContent}, lit up by the drawing`);
    paintMaps(/** @type {HTMLCanvasElement} */ (canvas), tensor, colours);
  });
}

/**
 * Paint feature maps side by side; a vector is painted as maps of one pixel.
 * @param {HTMLCanvasElement} canvas
 * @param {Tensor} tensor
 * @param {Palette} colours
 */
function paintMaps(canvas, { shape, data }, { paper, positive, negative }) {
  const [, maps, height = 1, width = 1] = shape;
  const isVector = height * width === 1;
  const columns = Math.min(maps, isVector ? 4 * MAP_COLUMNS : MAP_COLUMNS);
  const gap = isVector ? 0 : 1;
  const rows = Math.ceil(maps / columns);
  const [stepX, stepY] = [width + gap, height + gap];
  const largest = data.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-9);
  paint(canvas, columns * stepX - gap, rows * stepY - gap, (index) => {
    const [x, y] = [index % (columns * stepX - gap), Math.floor(index / (columns * stepX - gap))];
    const map = Math.floor(y / stepY) * columns + Math.floor(x / stepX);
    if (map >= maps || x % stepX >= width || y % stepY >= height) return paper;
    const value = data[(map * height + (y % stepY)) * width + (x % stepX)] / largest;
    return mix(paper, value < 0 ? negative : positive, Math.abs(value) ** 0.7);
  });
  canvas.style.width = `${columns * (isVector ? MAP_SIDE / 4 : MAP_SIDE)}px`;
}

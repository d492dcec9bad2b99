// Prepares a drawing or a clean scan: finds its ink and fits it into 28×28 pixels, as `mnistctl predict`
// does. Photographs of paper need more than this: uneven light and printed lines are not removed here.
//
// The steps and their limits are those of the Python modules images/ink.py and images/center.py, where
// they are explained.

/**
 * @typedef {{ width: number, height: number, channels: number, data: Float32Array | Float64Array }} Picture
 *   0 = black, 1 = white; the channels of a pixel side by side
 * @typedef {{ width: number, height: number, data: Float64Array }} Plane
 * @typedef {{ left: number, top: number, right: number, bottom: number }} Box right and bottom excluded
 */

export const IMAGE_SIDE = 28;
const INK_SIDE = 20; // pixels: longer side of the ink in the image
const MAX_SAMPLES = 20_000; // pixels: quantiles are estimated from a sample of about this size

/**
 * How much each pixel differs from the paper: about 0 for paper, larger for ink.
 * @param {Picture} picture
 * @returns {Plane}
 */
export function strengthOf(picture) {
  const { width, height, channels, data } = picture;
  const paper = paperOf(picture);
  const differences = new Float64Array(data.length);
  for (let index = 0; index < data.length; index++) {
    differences[index] = paper[index % channels] - data[index];
  }
  const direction = channels === 1 ? [1] : principalDirection(differences);
  const plane = new Float64Array(width * height);
  let total = 0;
  for (let index = 0; index < plane.length; index++) {
    for (let channel = 0; channel < channels; channel++) {
      plane[index] += differences[index * channels + channel] * direction[channel];
    }
    total += plane[index];
  }
  // The side of the paper with the larger sum is ink: dark on light, or light on dark.
  return { width, height, data: total >= 0 ? plane : plane.map((value) => -value) };
}

/**
 * The colour of the paper: that of the border if it has one colour, else the median of all pixels.
 * @param {Picture} picture
 * @returns {number[]} one value per channel
 */
function paperOf({ width, height, channels, data }) {
  const first = Array.from(data.subarray(0, channels));
  let isUniform = true;
  for (let y = 0; y < height && isUniform; y++) {
    const step = y === 0 || y === height - 1 ? 1 : Math.max(width - 1, 1);
    for (let x = 0; x < width && isUniform; x += step) {
      isUniform = first.every((value, channel) => data[(y * width + x) * channels + channel] === value);
    }
  }
  if (isUniform) return first;
  return first.map((_, channel) =>
    quantile(
      Float64Array.from({ length: width * height }, (_, index) => data[index * channels + channel]),
      0.5,
    ),
  );
}

/**
 * The direction in which differences of colour are largest.
 * @param {Float64Array} differences three per pixel
 * @returns {number[]} of length 1
 */
function principalDirection(differences) {
  const squares = new Float64Array(differences.length / 3);
  for (let index = 0; index < squares.length; index++) {
    for (let channel = 0; channel < 3; channel++)
      squares[index] += differences[3 * index + channel] ** 2;
  }
  const limit = 0.25 * squares.reduce((most, value) => Math.max(most, value), 0);
  const moments = new Float64Array(9);
  for (let index = 0; index < squares.length; index++) {
    if (squares[index] < limit) continue;
    for (let cell = 0; cell < 9; cell++) {
      moments[cell] +=
        differences[3 * index + Math.floor(cell / 3)] * differences[3 * index + (cell % 3)];
    }
  }
  // Power iteration, from the row with the largest moment, which cannot be orthogonal to the answer.
  const start = [0, 1, 2].reduce((best, row) => (moments[4 * row] > moments[4 * best] ? row : best), 0);
  let direction = [0, 1, 2].map((column) => moments[3 * start + column]);
  for (let round = 0; round < 50; round++) {
    const length = Math.hypot(...direction) || 1;
    const unit = direction.map((value) => value / length);
    direction = [0, 1, 2].map((row) =>
      unit.reduce((total, value, column) => total + value * moments[3 * row + column], 0),
    );
  }
  const length = Math.hypot(...direction) || 1;
  return direction.map((value) => value / length);
}

/**
 * Separate ink from noise, dirt and the soft edges of strokes.
 * @param {Plane} strength
 * @returns {Plane | null} 0 = paper, 1 = the ink's usual strength and above; null: there is no ink
 */
export function findInk(strength) {
  const { width, height } = strength;
  const smooth = Math.max(width, height) > 100 ? blur(strength).data : strength.data;
  const differences = smooth.map(Math.abs);
  const noise = Math.min(5 * 1.4826 * quantile(differences, 0.5), 0.3);
  const faintest = Math.max(0.08, noise);
  const inked = smooth.filter((value) => value > faintest);
  if (!inked.length) return null;
  const usual = quantile(inked, 0.95);

  const limit = Math.max(0.25 * usual, Math.min(noise, 0.5 * usual));
  const core = new Uint8Array(smooth.length);
  for (let index = 0; index < core.length; index++) core[index] = Number(smooth[index] > limit);
  const { labels, boxes } = connectedPieces(core, width, height);
  const isStrong = new Array(boxes.length).fill(false);
  for (let index = 0; index < labels.length; index++) {
    if (labels[index] && smooth[index] > 0.5 * usual) isStrong[labels[index] - 1] = true;
  }
  if (!isStrong.includes(true)) return null;
  const { isWriting, largest } = selectWriting(isStrong, boxes, width, height);

  const writing = labels.map((label) => Number(label > 0 && isWriting[label - 1]));
  const near = dilate(writing, width, height, 2 * Math.max(2, roundEven(0.06 * largest)) + 1);
  const remainder = differences.filter((_, index) => !near[index] && !core[index]);
  const roughness = remainder.length ? quantile(remainder, 0.98) : 0;
  const least = Math.min(Math.max(0.02 * usual, 1.5 * roughness), 0.25 * usual);
  const data = strength.data.map((value, index) =>
    near[index] && smooth[index] > least ? Math.min(Math.max(value / usual, 0), 1) : 0,
  );
  return { width, height, data };
}

/**
 * The pieces of ink whose pixels touch, also at their corners.
 * @param {Uint8Array} mask
 * @param {number} width
 * @param {number} height
 * @returns {{ labels: Int32Array, boxes: Box[] }} 0 for paper, and from 1 the number of the piece
 */
function connectedPieces(mask, width, height) {
  const labels = new Int32Array(mask.length);
  /** @type {Box[]} */
  const boxes = [];
  for (let first = 0; first < mask.length; first++) {
    if (!mask[first] || labels[first]) continue;
    const box = { left: width, top: height, right: 0, bottom: 0 };
    boxes.push(box);
    labels[first] = boxes.length;
    const stack = [first];
    while (stack.length) {
      const index = /** @type {number} */ (stack.pop());
      const x = index % width;
      const y = (index - x) / width;
      box.left = Math.min(box.left, x);
      box.top = Math.min(box.top, y);
      box.right = Math.max(box.right, x + 1);
      box.bottom = Math.max(box.bottom, y + 1);
      for (let row = Math.max(y - 1, 0); row <= Math.min(y + 1, height - 1); row++) {
        for (let column = Math.max(x - 1, 0); column <= Math.min(x + 1, width - 1); column++) {
          const next = row * width + column;
          if (!mask[next] || labels[next]) continue;
          labels[next] = boxes.length;
          stack.push(next);
        }
      }
    }
  }
  return { labels, boxes };
}

/**
 * Select the pieces that are writing, and not dirt.
 * @param {boolean[]} isStrong which pieces can be writing
 * @param {Box[]} boxes
 * @param {number} width of the picture
 * @param {number} height of the picture
 * @returns {{ isWriting: boolean[], largest: number }} `largest`: longer side of the largest piece
 */
function selectWriting(isStrong, boxes, width, height) {
  const sizes = Float64Array.from(boxes, (box, index) =>
    isStrong[index] ? Math.max(box.right - box.left, box.bottom - box.top) : 0,
  );
  const largest = sizes.reduce((most, size) => Math.max(most, size), 0);
  const large = boxes.filter((_, index) => sizes[index] > 0.4 * largest);
  const sums = coverSums(large, Math.ceil(0.2 * largest), width, height);
  const line = width + 1;
  const isWriting = boxes.map(({ left, top, right, bottom }, index) => {
    const covered =
      sums[bottom * line + right] -
      sums[top * line + right] -
      sums[bottom * line + left] +
      sums[top * line + left];
    return sizes[index] > 0.4 * largest || (sizes[index] > 0.12 * largest && covered > 0);
  });
  return { isWriting, largest };
}

/**
 * How many pixels above and to the left of each corner of a pixel the boxes cover.
 * @param {Box[]} boxes
 * @param {number} margin around them
 * @param {number} width of the picture
 * @param {number} height of the picture
 * @returns {Int32Array} (height + 1, width + 1)
 */
function coverSums(boxes, margin, width, height) {
  const line = width + 1;
  const sums = new Int32Array(line * (height + 1));
  for (const box of boxes) {
    const [left, right] = [Math.max(box.left - margin, 0), Math.min(box.right + margin, width)];
    const [top, bottom] = [Math.max(box.top - margin, 0), Math.min(box.bottom + margin, height)];
    sums[top * line + left]++;
    sums[top * line + right]--;
    sums[bottom * line + left]--;
    sums[bottom * line + right]++;
  }
  // The first pass counts the boxes over each pixel.
  addUp(sums, line);
  const counts = sums.slice();
  for (let y = 0; y <= height; y++) {
    for (let x = 0; x <= width; x++) {
      sums[y * line + x] = Number(y > 0 && x > 0 && counts[(y - 1) * line + x - 1] > 0);
    }
  }
  addUp(sums, line);
  return sums;
}

/**
 * Add to each value those above and to the left.
 * @param {Int32Array} values
 * @param {number} line its length
 */
function addUp(values, line) {
  for (let index = 0; index < values.length; index++) {
    if (index % line) values[index] += values[index - 1];
  }
  for (let index = line; index < values.length; index++) values[index] += values[index - line];
}

/**
 * Crop to the ink, scale its longer side to 20 pixels, and centre it by its mass. Thin strokes are
 * thickened, and blurred edges sharpened.
 * @param {Plane} ink at least one pixel above 0
 * @returns {Uint8Array} 28×28 pixels, 0 = paper, 255 = ink
 */
export function fit(ink) {
  let cropped = crop(ink);
  const longer = Math.max(cropped.width, cropped.height);
  if (longer > 200) {
    const [width, height] = [cropped.width, cropped.height].map((side) =>
      Math.max(1, roundEven((side * 200) / longer)),
    );
    cropped = resize(cropped, width, height, [0, 0, cropped.width, cropped.height]);
  }
  let softness = 0;
  if (Math.max(cropped.width, cropped.height) > INK_SIDE) {
    cropped = crop(thicken(cropped));
    softness = measureBlur(cropped);
  }
  const scaled = scaleDown(cropped, softness);
  const [down, right] = shiftToCentre(scaled);
  const image = new Uint8Array(IMAGE_SIDE * IMAGE_SIDE);
  for (let y = 0; y < scaled.height; y++) {
    for (let x = 0; x < scaled.width; x++) {
      image[(y + down) * IMAGE_SIDE + x + right] = Math.round(255 * scaled.data[y * scaled.width + x]);
    }
  }
  return image;
}

/**
 * @param {Plane} ink
 * @returns {Plane}
 */
function crop(ink) {
  const box = boxOf(ink, 0.02 * largestOf(ink));
  const width = box.right - box.left;
  const data = new Float64Array(width * (box.bottom - box.top));
  for (let y = box.top; y < box.bottom; y++) {
    const start = y * ink.width;
    data.set(ink.data.subarray(start + box.left, start + box.right), (y - box.top) * width);
  }
  return { width, height: box.bottom - box.top, data };
}

/**
 * @param {Plane} ink
 * @param {number} limit
 * @returns {Box} around all pixels above the limit
 */
function boxOf(ink, limit) {
  const box = { left: ink.width, top: ink.height, right: 0, bottom: 0 };
  for (let y = 0, index = 0; y < ink.height; y++) {
    for (let x = 0; x < ink.width; x++, index++) {
      if (ink.data[index] <= limit) continue;
      box.left = Math.min(box.left, x);
      box.top = Math.min(box.top, y);
      box.right = Math.max(box.right, x + 1);
      box.bottom = y + 1;
    }
  }
  return box;
}

/** @param {Plane} plane */
function largestOf(plane) {
  return plane.data.reduce((most, value) => Math.max(most, value), 0);
}

/**
 * Make strokes thicker if they are thinner than MNIST's.
 * @param {Plane} ink
 * @returns {Plane}
 */
function thicken(ink) {
  const half = 0.5 * largestOf(ink);
  const padded = pad(ink, 1);
  const isStroke = Uint8Array.from(padded.data, (value) => Number(value > half));
  const distances = distancesToPaper(isStroke, padded.width).filter((_, index) => isStroke[index]);
  if (!distances.length) return ink;
  // The mean distance to the edge of a line is a quarter of its width.
  const strokeWidth = (4 * distances.reduce((total, value) => total + value, 0)) / distances.length;
  const longer = Math.max(ink.width, ink.height);
  const growth = roundEven(0.12 * longer - strokeWidth);
  if (strokeWidth >= 0.09 * longer || growth < 1) return ink;
  const larger = pad(ink, growth);
  return { ...larger, data: dilate(larger.data, larger.width, larger.height, growth + 1) };
}

/**
 * @param {Plane} plane
 * @param {number} margin
 * @returns {Plane}
 */
function pad(plane, margin) {
  const width = plane.width + 2 * margin;
  const height = plane.height + 2 * margin;
  const data = new Float64Array(width * height);
  for (let y = 0; y < plane.height; y++) {
    data.set(
      plane.data.subarray(y * plane.width, (y + 1) * plane.width),
      (y + margin) * width + margin,
    );
  }
  return { width, height, data };
}

/**
 * The distance of each pixel of a stroke to the nearest paper, in steps to neighbours and knight's moves.
 * Source: Borgefors 1986, "Distance Transformations in Digital Images"; the lengths are OpenCV's.
 * @param {Uint8Array} mask its outermost pixels are paper
 * @param {number} width
 * @returns {Float64Array}
 */
function distancesToPaper(mask, width) {
  const far = 1e9;
  const distances = Float64Array.from(mask, (value) => (value ? far : 0));
  const steps = [1, width, width + 1, width - 1, width + 2, width - 2, 2 * width + 1, 2 * width - 1];
  const lengths = [1, 1, 1.4, 1.4, 2.1969, 2.1969, 2.1969, 2.1969];
  for (const sign of [-1, 1]) {
    for (let count = 0; count < mask.length; count++) {
      const index = sign < 0 ? count : mask.length - 1 - count;
      if (!mask[index]) continue;
      for (let step = 0; step < steps.length; step++) {
        const other = index + sign * steps[step];
        if (other < 0 || other >= mask.length) continue;
        distances[index] = Math.min(distances[index], distances[other] + lengths[step]);
      }
    }
  }
  return distances;
}

/**
 * The largest value in a disk around each pixel.
 * @template {Float64Array | Int32Array} Values
 * @param {Values} values
 * @param {number} width
 * @param {number} height
 * @param {number} side of the disk
 * @returns {Values}
 */
function dilate(values, width, height, side) {
  const radius = Math.floor(side / 2);
  const result = /** @type {Values} */ (values.slice().fill(0));
  for (let row = 0; row < side; row++) {
    const offset = row - radius;
    const reach = roundEven(radius * Math.sqrt(Math.max(1 - (offset / radius) ** 2, 0)));
    const right = Math.min(reach, side - 1 - radius); // a disk with an even side reaches less far there
    for (let y = Math.max(0, -offset); y < Math.min(height, height - offset); y++) {
      const source = (y + offset) * width;
      let previous = 0;
      let end = -1; // of the pixels that have at least the previous value
      for (let x = 0; x < width; x++) {
        const value = values[source + x];
        if (!value) continue;
        // The disk around (x', y) covers this pixel for x' from x - right to x + reach.
        const start = y * width + Math.max(0, x - right);
        let index = value <= previous ? Math.max(start, end + 1) : start;
        end = y * width + Math.min(width - 1, x + reach);
        for (; index <= end; index++) {
          if (result[index] < value) result[index] = value;
        }
        previous = value;
      }
    }
  }
  return result;
}

/**
 * The width of the strokes' edges in pixels, beyond the width of a sharp edge.
 * @param {Plane} ink
 * @returns {number}
 */
function measureBlur(ink) {
  const strongest = largestOf(ink);
  const { width, data } = pad(ink, 1);
  let area = 0;
  let edge = 0;
  data.forEach((value, index) => {
    if (value <= strongest / 2) return;
    area++;
    const neighbours = [-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1];
    if (neighbours.some((step) => data[index + step] <= strongest / 2)) edge++;
  });
  const outside = data.filter((value) => value > 0.05 * strongest).length - area;
  return Math.max(0, outside / Math.max(edge, 1) - 0.6);
}

/**
 * Scale the longer side to 20 pixels without the outer part of blurred edges, and sharpen.
 * @param {Plane} ink
 * @param {number} softness width of its blurred edges
 * @returns {Plane}
 */
function scaleDown(ink, softness) {
  let inset = Math.min(0.75 * softness, 0.1 * Math.min(ink.width, ink.height));
  const margin = Math.ceil(inset);
  if (margin) {
    const isInside = ink.data.some((value, index) => {
      const x = index % ink.width;
      const y = (index - x) / ink.width;
      return (
        value > 0 && x >= margin && y >= margin && x < ink.width - margin && y < ink.height - margin
      );
    });
    if (!isInside) inset = 0; // all ink is along the border
  }
  const sides = [ink.width - 2 * inset, ink.height - 2 * inset];
  const scale = INK_SIDE / Math.max(...sides);
  const [width, height] = sides.map((side) => Math.max(1, roundEven(side * scale)));
  if (width === ink.width && height === ink.height) return ink;
  const resized = resize(ink, width, height, [inset, inset, inset + sides[0], inset + sides[1]]);
  const amount = Math.min(0.8 * softness * scale, 0.6);
  const blurred = softness ? blur(resized, true).data : resized.data;
  const data = resized.data.map((value, index) =>
    Math.min(Math.max(value + amount * (value - blurred[index]), 0), 1),
  );
  return { width, height, data };
}

/**
 * Where the ink goes in the image, so that its centre of mass is in the centre and all of it inside.
 * @param {Plane} ink at most 20×20 pixels
 * @returns {[number, number]} the first row and the first column
 */
function shiftToCentre(ink) {
  let total = 0;
  let rows = 0;
  let columns = 0;
  ink.data.forEach((value, index) => {
    const x = index % ink.width;
    total += value;
    columns += value * x;
    rows += (value * (index - x)) / ink.width;
  });
  /** @type {(side: number, mass: number) => number} */
  const place = (side, mass) => {
    const start = Math.floor((IMAGE_SIDE - side) / 2);
    return Math.min(Math.max(start + roundEven(14 - start - mass / total), 0), IMAGE_SIDE - side);
  };
  return [place(ink.height, rows), place(ink.width, columns)];
}

/**
 * Blur with a Gaussian of one pixel.
 * @param {Plane} plane
 * @param {boolean} [isAlone] whether it is surrounded by zeros; else by its mirror image
 * @returns {Plane}
 */
function blur(plane, isAlone = false) {
  const weights = Array.from({ length: 9 }, (_, index) => Math.exp(-((index - 4) ** 2) / 2));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  /** @type {(data: Float64Array, count: number, step: number, lines: number, lineStep: number) => Float64Array} */
  const along = (data, count, step, lines, lineStep) => {
    const result = new Float64Array(data.length);
    for (let place = 0; place < count; place++) {
      for (let tap = 0; tap < 9; tap++) {
        let source = place + tap - 4;
        if (isAlone && (source < 0 || source >= count)) continue;
        if (count === 1) source = 0;
        while (source < 0 || source >= count) source = source < 0 ? -source : 2 * (count - 1) - source;
        const weight = weights[tap] / total;
        for (let line = 0; line < lines; line++) {
          result[line * lineStep + place * step] += weight * data[line * lineStep + source * step];
        }
      }
    }
    return result;
  };
  const { width, height, data } = plane;
  return { width, height, data: along(along(data, width, 1, height, width), height, width, width, 1) };
}

/**
 * Resize a part of a plane as Pillow does: an average of areas to reduce it, bicubic to enlarge it.
 * @param {Plane} plane
 * @param {number} width of the result
 * @param {number} height of the result
 * @param {[number, number, number, number]} part left, top, right and bottom
 * @returns {Plane}
 */
function resize(plane, width, height, [left, top, right, bottom]) {
  const isReduced = Math.max(width, height) < Math.max(right - left, bottom - top);
  const across = taps(left, right, width, plane.width, isReduced);
  const down = taps(top, bottom, height, plane.height, isReduced);
  const narrow = new Float64Array(width * plane.height);
  for (let y = 0; y < plane.height; y++) {
    across.forEach((weights, x) => {
      for (const [source, weight] of weights)
        narrow[y * width + x] += weight * plane.data[y * plane.width + source];
    });
  }
  const data = new Float64Array(width * height);
  down.forEach((weights, y) => {
    for (const [source, weight] of weights) {
      for (let x = 0; x < width; x++) data[y * width + x] += weight * narrow[source * width + x];
    }
  });
  return { width, height, data };
}

/**
 * The pixels of a line that each pixel of the resized line is made of, and their weights.
 * @param {number} start
 * @param {number} end
 * @param {number} count pixels of the resized line
 * @param {number} length pixels of the line
 * @param {boolean} isReduced
 * @returns {[number, number][][]}
 */
function taps(start, end, count, length, isReduced) {
  const scale = (end - start) / count;
  const stretch = Math.max(scale, 1);
  const support = (isReduced ? 0.5 : 2) * stretch;
  const filter = isReduced ? box : bicubic;
  return Array.from({ length: count }, (_, place) => {
    const centre = start + (place + 0.5) * scale;
    const first = Math.max(Math.floor(centre - support + 0.5), 0);
    const last = Math.min(Math.floor(centre + support + 0.5), length);
    /** @type {[number, number][]} */
    const weights = [];
    for (let source = first; source < last; source++) {
      weights.push([source, filter((source + 0.5 - centre) / stretch)]);
    }
    const total = weights.reduce((sum, [, weight]) => sum + weight, 0) || 1;
    return weights.map(([source, weight]) => [source, weight / total]);
  });
}

/** @param {number} distance */
function box(distance) {
  return distance > -0.5 && distance <= 0.5 ? 1 : 0;
}

/**
 * Source: Keys 1981, "Cubic convolution interpolation for digital image processing".
 * @param {number} distance
 */
function bicubic(distance) {
  const x = Math.abs(distance);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

/**
 * The value that is larger than this share of the others, estimated from a sample.
 * @param {Float64Array} values
 * @param {number} share
 * @returns {number}
 */
function quantile(values, share) {
  const step = Math.floor(values.length / MAX_SAMPLES) | 1;
  const sample = new Float64Array(Math.ceil(values.length / step));
  for (let index = 0; index < sample.length; index++) sample[index] = values[index * step];
  return select(sample, Math.min(Math.floor(share * sample.length), sample.length - 1));
}

/**
 * The value that would have this index if all were in order. Changes their order.
 * Source: Hoare 1961, "Algorithm 65: Find".
 * @param {Float64Array} values
 * @param {number} index
 */
function select(values, index) {
  let low = 0;
  let high = values.length - 1;
  while (low < high) {
    const pivot = values[(low + high) >> 1];
    let left = low;
    let right = high;
    while (left <= right) {
      while (values[left] < pivot) left++;
      while (values[right] > pivot) right--;
      if (left > right) break;
      const value = values[left];
      values[left++] = values[right];
      values[right--] = value;
    }
    if (index <= right) high = right;
    else if (index >= left) low = left;
    else break;
  }
  return values[index];
}

/**
 * Round to the nearest integer; halves to the even one, as Python does.
 * @param {number} value
 */
function roundEven(value) {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

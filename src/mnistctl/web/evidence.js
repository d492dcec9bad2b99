// What in an image speaks for an answer: the image is read again and again with a part of its ink covered.
//
// Source: Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2.

import { IMAGE_SIDE } from "./prepare.js";

/** @import { Net } from "./net.js" */

const PATCH = 5; // pixels: side of the part that is covered
const STEP = 2; // pixels between the parts

/**
 * How much each pixel's ink raises the logits of some classes above the mean of all logits.
 * @param {Net} net
 * @param {Uint8Array} image 28×28 pixels
 * @param {Float64Array} logits of the image
 * @param {number[]} classes indices
 * @returns {Generator<void, Float64Array[]>} pauses after each reading; in the end 28×28 values per class
 */
export function* evidence(net, image, logits, classes) {
  const sums = classes.map(() => new Float64Array(image.length));
  const counts = new Float64Array(image.length);
  const before = centred(logits);
  for (let top = 1 - PATCH; top < IMAGE_SIDE; top += STEP) {
    for (let left = 1 - PATCH; left < IMAGE_SIDE; left += STEP) {
      const covered = inkUnder(image, top, left);
      if (!covered.length) continue;
      const other = image.slice();
      for (const index of covered) other[index] = 0;
      const changed = centred(net.run(other).logits);
      for (const index of covered) {
        counts[index]++;
        classes.forEach((label, row) => {
          sums[row][index] += before[label] - changed[label];
        });
      }
      yield;
    }
  }
  return sums.map((sum) => sum.map((value, index) => value / Math.max(counts[index], 1)));
}

/**
 * @param {Uint8Array} image
 * @param {number} top of a patch
 * @param {number} left of a patch
 * @returns {number[]} indices of the pixels with ink
 */
function inkUnder(image, top, left) {
  const indices = [];
  for (let y = Math.max(top, 0); y < Math.min(top + PATCH, IMAGE_SIDE); y++) {
    for (let x = Math.max(left, 0); x < Math.min(left + PATCH, IMAGE_SIDE); x++) {
      if (image[y * IMAGE_SIDE + x]) indices.push(y * IMAGE_SIDE + x);
    }
  }
  return indices;
}

/** @param {Float64Array} values */
function centred(values) {
  const mean = values.reduce((total, value) => total + value, 0) / values.length;
  return values.map((value) => value - mean);
}

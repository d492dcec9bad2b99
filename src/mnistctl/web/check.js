// Used by the exporter, which runs the page's own code in V8 before it writes the page. Not in the page.

import { decodeBase64 } from "./model.js";
import { findInk, fit, IMAGE_SIDE, strengthOf } from "./prepare.js";

/** @import { Model } from "./model.js" */
/** @import { Net } from "./net.js" */

/**
 * @param {Model} model
 * @param {string} images Base64 of images of 28×28 pixels
 * @returns {{ logits: number[], probabilities: number[], familiarity: number }[]}
 */
export function runImages(model, images) {
  const bytes = decodeBase64(images);
  const size = IMAGE_SIDE * IMAGE_SIDE;
  return Array.from({ length: bytes.length / size }, (_, index) => {
    const { logits, probabilities, familiarity } = /** @type {Net} */ (model.net).run(
      bytes.subarray(index * size, (index + 1) * size),
    );
    return { logits: Array.from(logits), probabilities: Array.from(probabilities), familiarity };
  });
}

/**
 * @param {string} pixels Base64 of a grey picture, a byte per pixel
 * @param {number} width
 * @returns {number[]} its image of 28×28 pixels; all 0: it is blank
 */
export function prepareGrey(pixels, width) {
  const data = Float32Array.from(decodeBase64(pixels), (value) => value / 255);
  const ink = findInk(strengthOf({ width, height: data.length / width, channels: 1, data }));
  return Array.from(ink ? fit(ink) : new Uint8Array(IMAGE_SIDE * IMAGE_SIDE));
}

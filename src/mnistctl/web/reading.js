// Reads a picture: prepares it, runs the net, and decides whether the answer counts.

import { findInk, fit, IMAGE_SIDE, strengthOf } from "./prepare.js";

/** @import { Net, Outputs } from "./net.js" */
/** @import { Box, Picture, Plane } from "./prepare.js" */

/**
 * @typedef {{ classNames: string[], areDigits: boolean, threshold: number | null }} Classes
 * @typedef {{ label: string, index: number, probability: number }} Candidate
 * @typedef {{ ranking: Candidate[], reason: string | null, image: Uint8Array, outputs: Outputs | null }} Reading
 *   `reason`: why the picture is rejected
 */

export const SEVERAL = "several digits";
const MIN_PIECE_HEIGHT = 0.5; // height of another digit in the same picture / height of the highest

/**
 * @param {Net} net
 * @param {Classes} classes
 * @param {Picture} picture
 * @returns {Reading}
 */
export function read(net, classes, picture) {
  const ink = findInk(strengthOf(picture));
  const image = ink ? fit(ink) : new Uint8Array(IMAGE_SIDE * IMAGE_SIDE);
  if (!ink) return { ranking: [], reason: "blank", image, outputs: null };
  const outputs = net.run(image);
  const ranking = classes.classNames
    .map((label, index) => ({ label, index, probability: outputs.probabilities[index] }))
    .sort((one, other) => other.probability - one.probability);
  return { ranking, reason: reasonToReject(outputs, classes, ink), image, outputs };
}

/**
 * @param {Outputs} outputs
 * @param {Classes} classes
 * @param {Plane} ink
 * @returns {string | null}
 */
function reasonToReject({ familiarity }, { areDigits, threshold }, ink) {
  if (threshold === null || familiarity >= threshold) return null;
  if (!areDigits) return "none of the classes";
  return hasSeveralPieces(ink) ? SEVERAL : "not a digit";
}

/**
 * Whether columns without ink separate pieces of similar height.
 * @param {Plane} ink
 */
function hasSeveralPieces(ink) {
  /** @type {Box[]} */
  const pieces = [];
  for (let x = 0; x < ink.width; x++) {
    let top = -1;
    let bottom = -1;
    for (let y = 0; y < ink.height; y++) {
      if (ink.data[y * ink.width + x] <= 0) continue;
      if (top < 0) top = y;
      bottom = y;
    }
    if (top < 0) continue;
    const last = pieces[pieces.length - 1];
    if (last && last.right === x) {
      last.right = x + 1;
      last.top = Math.min(last.top, top);
      last.bottom = Math.max(last.bottom, bottom);
    } else {
      pieces.push({ left: x, top, right: x + 1, bottom });
    }
  }
  const heights = pieces.map((piece) => piece.bottom - piece.top);
  const limit = MIN_PIECE_HEIGHT * Math.max(...heights);
  return heights.filter((height) => height >= limit).length > 1;
}

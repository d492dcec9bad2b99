// Reads a picture: prepares it, runs the net, and decides whether the answer counts.

import { findInk, fit, IMAGE_SIDE, strengthOf } from "./prepare.js";

/** @import { Net, Outputs } from "./net.js" */
/** @import { Box, Picture, Plane } from "./prepare.js" */

/**
 * @typedef {{ classNames: string[], threshold: number | null }} Classes
 * @typedef {{ label: string, index: number, probability: number }} Candidate
 * @typedef {{ ranking: Candidate[], familiarity: number, reason: string | null, isSeveral: boolean,
 *   image: Uint8Array, outputs: Outputs | null }} Reading `reason`: why the answer does not count
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
  if (!ink) {
    return { ranking: [], familiarity: 0, reason: "blank", isSeveral: false, image, outputs: null };
  }
  const outputs = net.run(image);
  const isSeveral = hasSeveralPieces(ink);
  return { ...interpret(outputs, classes, isSeveral), isSeveral, image, outputs };
}

/**
 * @param {Outputs} outputs
 * @param {Classes} classes
 * @param {boolean} isSeveral whether the picture seems to show several digits
 */
function interpret(outputs, { classNames, threshold }, isSeveral) {
  const ranking = classNames
    .map((label, index) => ({ label, index, probability: outputs.probabilities[index] }))
    .sort((one, other) => other.probability - one.probability);
  const { familiarity } = outputs;
  let reason = null;
  if (threshold !== null && familiarity < threshold) {
    const areDigits = classNames.every((name) => /^\d$/.test(name));
    reason = isSeveral && areDigits ? SEVERAL : areDigits ? "not a digit" : "none of the classes";
  }
  return { ranking, familiarity, reason };
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

// Lets the server that the page came from read a picture, where the page cannot run the model.

import { findInk, fit, IMAGE_SIDE, strengthOf } from "./prepare.js";
import { SEVERAL } from "./reading.js";

/** @import { Picture } from "./prepare.js" */
/** @import { Classes, Reading } from "./reading.js" */

/**
 * @param {string} url
 * @param {Blob} file the picture
 * @param {Picture} picture its pixels
 * @param {Classes} classes
 * @returns {Promise<Reading>}
 * @throws {Error} the server does not answer, or cannot read the picture
 */
export async function askServer(url, file, picture, classes) {
  const headers = { "content-type": file.type || "application/octet-stream" };
  const response = await fetch(url, { method: "POST", body: file, headers }).catch(() => {
    throw new Error("The server does not answer.");
  });
  const content = await response.json().catch(() => null);
  const problem = response.ok ? content?.[0]?.error : content?.error;
  if (problem || !response.ok) {
    const text = problem ?? `The server answers with status ${response.status}.`;
    throw new Error(text.replace(/^-: /, ""));
  }
  const { top, reason } = content[0];
  const ink = findInk(strengthOf(picture));
  return {
    ranking: top.map(
      (/** @type {{ label: string, probability: number }} */ { label, probability }) => ({
        label,
        index: classes.classNames.indexOf(label),
        probability,
      }),
    ),
    reason: reason?.startsWith(SEVERAL) ? SEVERAL : reason,
    image: ink ? fit(ink) : new Uint8Array(IMAGE_SIDE * IMAGE_SIDE),
    outputs: null,
  };
}

// Opens the model that the page carries.

import { Net } from "./net.js";

/** @import { Graph } from "./net.js" */
/** @import { Classes } from "./reading.js" */

/**
 * @typedef {{ metadata: Record<string, any>, graph: Graph, weights: string }} OwnModel weights in Base64
 * @typedef {{ metadata: Record<string, any>, server: string }} ServedModel the address that reads pictures
 * @typedef {{ net: Net | null, server: string, classes: Classes, metadata: Record<string, any> }} Model
 *   `server`: reads the pictures if there is no net
 */

/**
 * @param {string} text JSON: an `OwnModel` or a `ServedModel`
 * @returns {Model}
 */
export function openModel(text) {
  /** @type {OwnModel | ServedModel} */
  const content = JSON.parse(text);
  const { metadata } = content;
  /** @type {string[]} */
  const classNames = metadata.class_names;
  const areDigits = classNames.every((name) => /^\d$/.test(name));
  const classes = { classNames, areDigits, threshold: metadata.threshold };
  if ("server" in content) return { net: null, server: content.server, classes, metadata };
  const net = new Net(content.graph, decodeBase64(content.weights).buffer);
  return { net, server: "", classes, metadata };
}

/**
 * @param {string} text
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function decodeBase64(text) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const values = new Uint8Array(128);
  for (let index = 0; index < alphabet.length; index++) values[alphabet.charCodeAt(index)] = index;
  const bytes = new Uint8Array(Math.floor((text.replace(/=+$/, "").length * 3) / 4));
  for (let index = 0, byte = 0; byte < bytes.length; index += 4, byte += 3) {
    const [a, b, c, d] = [0, 1, 2, 3].map((offset) => values[text.charCodeAt(index + offset) & 127]);
    const group = (a << 18) | (b << 12) | (c << 6) | d;
    bytes[byte] = group >> 16;
    if (byte + 1 < bytes.length) bytes[byte + 1] = group >> 8;
    if (byte + 2 < bytes.length) bytes[byte + 2] = group;
  }
  return bytes;
}

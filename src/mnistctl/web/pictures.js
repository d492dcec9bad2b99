// Pictures that are dropped, pasted, opened or taken with the camera.

import { newCanvas, pen2d } from "./pad.js";

/** @import { Picture } from "./prepare.js" */

const WORKING_SIDE = 1024; // pixels: a picture with a longer side is reduced to this

/**
 * @param {ImageBitmap} bitmap
 * @returns {Picture} transparent areas become paper: white behind dark drawings, black behind light ones
 */
export function pictureOf(bitmap) {
  const scale = Math.min(1, WORKING_SIDE / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) =>
    Math.max(1, Math.round(side * scale)),
  );
  const pen = pen2d(newCanvas(width, height));
  pen.imageSmoothingQuality = "high";
  pen.drawImage(bitmap, 0, 0, width, height);
  const pixels = pen.getImageData(0, 0, width, height).data;
  let brightness = 0;
  let opacity = 0;
  for (let index = 0; index < pixels.length; index += 4) {
    brightness += ((pixels[index] + pixels[index + 1] + pixels[index + 2]) / 3) * pixels[index + 3];
    opacity += pixels[index + 3];
  }
  const paper = brightness / Math.max(opacity, 1) < 128 ? 1 : 0;
  const isGrey = pixels.every(
    (value, index) => index % 4 === 3 || value === pixels[index - (index % 4)],
  );
  const channels = isGrey ? 1 : 3;
  const data = new Float32Array(width * height * channels);
  for (let index = 0; index < data.length; index++) {
    const start = 4 * Math.floor(index / channels);
    const share = pixels[start + 3] / 255;
    data[index] = (pixels[start + (index % channels)] / 255) * share + paper * (1 - share);
  }
  return { width, height, channels, data };
}

/**
 * Take pictures that are dropped on the page, pasted, or chosen.
 * @param {HTMLInputElement[]} inputs
 * @param {(file: Blob) => void} take
 */
export function watchForPictures(inputs, take) {
  for (const input of inputs) {
    input.addEventListener("change", () => {
      if (input.files?.[0]) take(input.files[0]);
      input.value = ""; // so that the same file can be chosen again
    });
  }
  document.addEventListener("paste", (event) => {
    const file = event.clipboardData?.files[0];
    if (file) take(file);
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    const file = event.dataTransfer?.files[0];
    if (file) take(file);
  });
}

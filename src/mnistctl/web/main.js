// Connects the pad, the model and the view.

import { evidence } from "./evidence.js";
import { openModel } from "./model.js";
import { Pad } from "./pad.js";
import { pictureOf, watchForPictures } from "./pictures.js";
import { IMAGE_SIDE } from "./prepare.js";
import { read } from "./reading.js";
import { element, showAnswer, showBars, showEvidence, showImage, showLayers } from "./view.js";

/** @import { Model } from "./model.js" */
/** @import { Picture } from "./prepare.js" */
/** @import { Classes, Reading } from "./reading.js" */

const EVIDENCE_DELAY = 200; // ms without a change before evidence is looked for
const EVIDENCE_SLICE = 10; // ms that it may take at a time, so that drawing stays smooth

class App {
  /** @param {Model} model */
  constructor({ net, classes, metadata }) {
    this.net = net;
    this.classes = classes;
    /** @type {Reading | null} */
    this.reading = null;
    /** @type {Picture | null} the picture that is open */
    this.picture = null;
    this.isWaiting = false;
    this.evidenceTimer = 0;
    this.pad = new Pad(element("pad"), () => this.schedule());
    describe(classes, metadata);
    element("undo").addEventListener("click", () => this.pad.undo());
    element("clear").addEventListener("click", () => this.pad.clear());
    document.addEventListener("keydown", (event) => {
      if (event.key === "z" && (event.ctrlKey || event.metaKey)) this.pad.undo();
      else if (event.key === "Escape") this.pad.clear();
      else return;
      event.preventDefault();
    });
    watchForPictures([element("file"), element("camera")], (file) => this.open(file));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.pad.draw();
      this.show();
    });
    this.show();
  }

  /** Read the drawing before the next frame is shown. */
  schedule() {
    if (!this.pad.picture) this.picture = null;
    if (this.isWaiting) return;
    this.isWaiting = true;
    requestAnimationFrame(() => {
      this.isWaiting = false;
      this.read();
    });
  }

  read() {
    this.reading = this.pad.isEmpty
      ? null
      : read(this.net, this.classes, this.picture ?? this.pad.raster());
    this.show();
  }

  /** @param {Blob} file */
  async open(file) {
    let bitmap;
    try {
      bitmap = await createImageBitmap(file);
    } catch {
      element("verdict").textContent = "This file is not a picture that the browser can open.";
      return;
    }
    this.picture = pictureOf(bitmap);
    this.pad.strokes = [];
    this.pad.picture = bitmap;
    this.pad.change();
  }

  show() {
    const { reading } = this;
    document.body.classList.toggle("empty", !reading);
    showAnswer(reading);
    showBars(reading, this.classes.classNames);
    const image = reading?.image ?? new Uint8Array(IMAGE_SIDE * IMAGE_SIDE);
    showImage(image);
    showLayers(this.net, reading?.outputs?.activations ?? []);
    this.explain(reading, image);
  }

  /**
   * Look for the evidence as soon as nothing changes.
   * @param {Reading | null} reading
   * @param {Uint8Array} image
   */
  explain(reading, image) {
    clearTimeout(this.evidenceTimer);
    const candidates = reading?.ranking.slice(0, 2) ?? [];
    const labels = candidates.map((candidate) => candidate.label);
    showEvidence(image, labels, []);
    if (!reading?.outputs) return;
    const search = evidence(
      this.net,
      image,
      reading.outputs.logits,
      candidates.map((candidate) => candidate.index),
    );
    const advance = () => {
      const end = performance.now() + EVIDENCE_SLICE;
      let step = search.next();
      while (!step.done && performance.now() < end) step = search.next();
      if (step.done) showEvidence(image, labels, step.value);
      else this.evidenceTimer = setTimeout(advance);
    };
    this.evidenceTimer = setTimeout(advance, EVIDENCE_DELAY);
  }
}

/**
 * Say what the page is for.
 * @param {Classes} classes
 * @param {Record<string, any>} metadata
 */
function describe({ classNames }, metadata) {
  const areDigits = classNames.every((name) => /^\d$/.test(name));
  const title = areDigits ? "Draw a digit" : "Draw one of these";
  document.title = areDigits ? "Digit reader" : `Reader for ${metadata.dataset.name}`;
  element("title").textContent = title;
  element("classes").textContent = areDigits ? "" : classNames.join(" · ");
}

if (typeof document !== "undefined") {
  new App(openModel(element("model").textContent ?? ""));
}

// Connects the pad, the model and the view.

import { evidence } from "./evidence.js";
import { openModel } from "./model.js";
import { Pad } from "./pad.js";
import { pictureOf, watchForPictures } from "./pictures.js";
import { IMAGE_SIDE } from "./prepare.js";
import { read } from "./reading.js";
import { askServer } from "./server.js";
import {
  announce,
  element,
  showAnswer,
  showBars,
  showEvidence,
  showImage,
  showLayers,
} from "./view.js";

/** @import { Model } from "./model.js" */
/** @import { Classes, Reading } from "./reading.js" */

const EVIDENCE_DELAY = 200; // ms without a change before the answer is announced and explained
const EVIDENCE_SLICE = 10; // ms that it may take at a time, so that drawing stays smooth

class App {
  /** @param {Model} model */
  constructor({ net, server, classes, metadata }) {
    this.net = net;
    this.server = server;
    this.classes = classes;
    /** @type {Reading | null} null: nothing is drawn */
    this.reading = null;
    this.problem = ""; // with the file that was opened last, or with the server
    this.isWaiting = false;
    this.isAsking = false;
    this.hasChanged = false; // since the server was asked
    this.openings = 0;
    this.evidenceTimer = 0;
    this.pad = new Pad(element("pad"), () => this.schedule());
    document.body.classList.toggle("remote", !net);
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
    this.problem = "";
    if (this.isWaiting) return;
    this.isWaiting = true;
    requestAnimationFrame(() => {
      this.isWaiting = false;
      if (!this.net) {
        this.ask();
        return;
      }
      this.reading = this.pad.isEmpty ? null : read(this.net, this.classes, this.pad.toPicture());
      this.show();
    });
  }

  /** Let the server read the drawing; of the changes meanwhile, only the last one is sent. */
  async ask() {
    this.hasChanged = true;
    if (this.isAsking) return;
    this.isAsking = true;
    while (this.hasChanged && !this.pad.isEmpty) {
      this.hasChanged = false;
      try {
        const file = await this.pad.toFile();
        this.reading = await askServer(this.server, file, this.pad.toPicture(), this.classes);
        this.problem = "";
      } catch (error) {
        this.reading = null;
        this.problem = error instanceof Error ? error.message : String(error);
      }
      this.show();
    }
    this.isAsking = false;
    if (!this.pad.isEmpty) return;
    this.reading = null;
    this.show();
  }

  /** @param {Blob} file */
  async open(file) {
    const opening = ++this.openings;
    const bitmap = await createImageBitmap(file).catch(() => null);
    if (opening !== this.openings) return; // another file was opened meanwhile
    if (bitmap) {
      this.pad.show({ bitmap, picture: pictureOf(bitmap), file });
      return;
    }
    this.problem = "The browser cannot open this file as a picture.";
    this.show();
  }

  show() {
    const { reading } = this;
    document.body.classList.toggle("empty", !reading);
    showAnswer(reading, this.problem);
    showBars(reading, this.classes.classNames);
    const image = reading?.image ?? new Uint8Array(IMAGE_SIDE * IMAGE_SIDE);
    showImage(image);
    if (this.net) showLayers(this.net, reading?.outputs?.activations ?? []);
    this.explain(reading, image);
  }

  /**
   * Look for the evidence as soon as nothing changes.
   * @param {Reading | null} reading
   * @param {Uint8Array} image
   */
  explain(reading, image) {
    clearTimeout(this.evidenceTimer);
    this.evidenceTimer = setTimeout(announce, EVIDENCE_DELAY);
    const candidates = reading?.ranking.slice(0, 2) ?? [];
    const labels = candidates.map((candidate) => candidate.label);
    showEvidence(image, labels, []);
    if (!this.net || !reading?.outputs) return;
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
    clearTimeout(this.evidenceTimer);
    this.evidenceTimer = setTimeout(() => {
      announce();
      advance();
    }, EVIDENCE_DELAY);
  }
}

/**
 * Say what the page is for.
 * @param {Classes} classes
 * @param {Record<string, any>} metadata
 */
function describe({ classNames, areDigits }, metadata) {
  if (areDigits) return;
  document.title = `Reader for ${metadata.dataset.name}`;
  element("title").textContent = "Draw one of these classes";
  element("classes").textContent = classNames.join(" · ");
}

if (typeof document !== "undefined") {
  new App(openModel(element("model").textContent ?? ""));
}

// The drawing pad: strokes by mouse, pen, touch and keyboard.

/** @import { Picture } from "./prepare.js" */

/**
 * @typedef {{ x: number, y: number, width: number }} Point x and y from 0 to 1; width as a share of the pad
 * @typedef {Point[]} Stroke
 * @typedef {{ bitmap: ImageBitmap, picture: Picture, file: Blob }} OpenPicture
 * @typedef {{ strokes: Stroke[], picture: OpenPicture | null }} Sheet strokes, or a picture
 */

const PEN_WIDTH = 0.075; // as a share of the pad's side, at half the pressure
const KEY_STEP = 0.04; // how far an arrow key moves the pen
const RASTER_SIDE = 196; // pixels of the picture that is read

/** @returns {Sheet} */
function emptySheet() {
  return { strokes: [], picture: null };
}

export class Pad {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {() => void} onChange
   */
  constructor(canvas, onChange) {
    this.canvas = canvas;
    this.onChange = onChange;
    this.sheet = emptySheet();
    /** @type {Sheet[]} what the sheet was before each change, for undo */
    this.history = [];
    /** @type {Stroke | null} the stroke that is being drawn */
    this.stroke = null;
    /** @type {PointerEvent | null} the event with which the pointer that draws went down */
    this.pointer = null;
    this.cursor = { x: 0.5, y: 0.2 }; // the pen of the keyboard
    this.hasCursor = false; // whether it is shown
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => {
      if (event.pointerId === this.pointer?.pointerId) this.lift();
    });
    canvas.addEventListener("pointercancel", (event) => {
      // The browser takes the pointer for something else, such as a gesture.
      if (event.pointerId === this.pointer?.pointerId) this.undo();
    });
    canvas.addEventListener("keydown", (event) => this.press(event));
    canvas.addEventListener("focus", () => {
      this.hasCursor = canvas.matches(":focus-visible"); // not after a click
      this.draw();
    });
    canvas.addEventListener("blur", () => {
      this.hasCursor = false;
      this.lift();
      this.draw();
    });
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  get isEmpty() {
    return !this.sheet.strokes.length && !this.sheet.picture;
  }

  /** @param {PointerEvent} event */
  begin(event) {
    if (event.button !== 0) return;
    if (this.pointer) {
      // A palm often touches the screen before the pen does.
      if (event.pointerType !== "pen" || this.pointer.pointerType !== "touch") return;
      this.undo();
    }
    this.hasCursor = false;
    this.startStroke();
    this.pointer = event;
    this.canvas.setPointerCapture(event.pointerId);
    this.move(event);
  }

  /** @param {PointerEvent} event */
  move(event) {
    if (event.pointerId !== this.pointer?.pointerId || !this.stroke) return;
    const box = this.canvas.getBoundingClientRect();
    const events = event.getCoalescedEvents?.() ?? [];
    for (const part of events.length ? events : [event]) {
      const pressure = part.pointerType === "pen" && part.pressure ? part.pressure : 0.5;
      this.stroke.push({
        x: (part.clientX - box.left) / box.width,
        y: (part.clientY - box.top) / box.height,
        width: PEN_WIDTH * (0.5 + 2 * pressure ** 2),
      });
    }
    this.change();
  }

  /** @param {KeyboardEvent} event */
  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const step = moves[/** @type {keyof typeof moves} */ (event.key)];
    if (!step && event.key !== " ") return;
    event.preventDefault();
    this.hasCursor = true;
    if (step) {
      this.cursor.x = Math.min(Math.max(this.cursor.x + KEY_STEP * step[0], 0), 1);
      this.cursor.y = Math.min(Math.max(this.cursor.y + KEY_STEP * step[1], 0), 1);
    } else if (this.stroke) {
      this.lift();
    } else if (!event.repeat) {
      this.startStroke();
    }
    this.stroke?.push({ ...this.cursor, width: PEN_WIDTH });
    this.change();
  }

  /** Start a stroke, on a new sheet if there is a picture. */
  startStroke() {
    this.lift();
    const stroke = /** @type {Stroke} */ ([]);
    this.replace({ strokes: [...this.sheet.strokes, stroke], picture: null });
    this.stroke = stroke;
  }

  /** End the stroke that is being drawn. */
  lift() {
    this.stroke = null;
    this.pointer = null;
  }

  /** @param {Sheet} sheet */
  replace(sheet) {
    this.history.push(this.sheet);
    this.sheet = sheet;
  }

  undo() {
    this.lift();
    this.sheet = this.history.pop() ?? emptySheet();
    this.change();
  }

  clear() {
    this.lift();
    if (!this.isEmpty) this.replace(emptySheet());
    this.change();
  }

  /** @param {OpenPicture} picture */
  show(picture) {
    this.lift();
    this.replace({ strokes: [], picture });
    this.change();
  }

  change() {
    this.draw();
    this.onChange();
  }

  /** Show the strokes or the picture, and the pen of the keyboard. */
  draw() {
    const side = Math.round(this.canvas.clientWidth * devicePixelRatio) || RASTER_SIDE;
    this.canvas.width = side;
    this.canvas.height = side;
    const pen = pen2d(this.canvas);
    const colours = getComputedStyle(this.canvas);
    if (this.sheet.picture) {
      const { bitmap } = this.sheet.picture;
      const scale = side / Math.max(bitmap.width, bitmap.height);
      const [width, height] = [bitmap.width * scale, bitmap.height * scale];
      pen.drawImage(bitmap, (side - width) / 2, (side - height) / 2, width, height);
    }
    drawStrokes(pen, this.sheet.strokes, side, colours.color);
    if (this.hasCursor) {
      pen.strokeStyle = colours.getPropertyValue("--accent");
      pen.fillStyle = pen.strokeStyle;
      pen.lineWidth = side / 100;
      pen.beginPath();
      pen.arc(this.cursor.x * side, this.cursor.y * side, (PEN_WIDTH * side) / 2, 0, 7);
      if (this.stroke) pen.fill();
      pen.stroke();
    }
  }

  /**
   * The picture, or the strokes as a picture: black on white.
   * @returns {Picture}
   */
  toPicture() {
    if (this.sheet.picture) return this.sheet.picture.picture;
    const pixels = this.drawRaster().getImageData(0, 0, RASTER_SIDE, RASTER_SIDE).data;
    const data = new Float32Array(RASTER_SIDE ** 2);
    for (let index = 0; index < data.length; index++) data[index] = pixels[4 * index] / 255;
    return { width: RASTER_SIDE, height: RASTER_SIDE, channels: 1, data };
  }

  /**
   * The same as a file: the one that was opened, or a PNG.
   * @returns {Promise<Blob>}
   */
  async toFile() {
    if (this.sheet.picture) return this.sheet.picture.file;
    const { canvas } = this.drawRaster();
    return new Promise((resolve) =>
      canvas.toBlob((blob) => resolve(/** @type {Blob} */ (blob)), "image/png"),
    );
  }

  /** The strokes in black on white. */
  drawRaster() {
    const pen = pen2d(newCanvas(RASTER_SIDE, RASTER_SIDE));
    pen.fillStyle = "white";
    pen.fillRect(0, 0, RASTER_SIDE, RASTER_SIDE);
    drawStrokes(pen, this.sheet.strokes, RASTER_SIDE, "black");
    return pen;
  }
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {Stroke[]} strokes
 * @param {number} side of the canvas
 * @param {string} colour
 */
function drawStrokes(pen, strokes, side, colour) {
  pen.strokeStyle = colour;
  pen.lineCap = "round";
  pen.lineJoin = "round";
  for (const stroke of strokes) {
    let previous = stroke[0];
    for (const point of stroke) {
      pen.lineWidth = point.width * side;
      pen.beginPath();
      pen.moveTo(previous.x * side, previous.y * side);
      pen.lineTo(point.x * side, point.y * side);
      pen.stroke();
      previous = point;
    }
  }
}

/**
 * @param {number} width
 * @param {number} height
 */
export function newCanvas(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @returns {CanvasRenderingContext2D}
 */
export function pen2d(canvas) {
  return /** @type {CanvasRenderingContext2D} */ (
    canvas.getContext("2d", { willReadFrequently: true })
  );
}

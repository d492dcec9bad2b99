// The drawing pad: strokes by mouse, pen, touch and keyboard.

/** @import { Picture } from "./prepare.js" */

/**
 * @typedef {{ x: number, y: number, width: number }} Point x and y from 0 to 1; width as a share of the pad
 * @typedef {Point[]} Stroke
 */

const PEN_WIDTH = 0.075; // as a share of the pad's side, at half the pressure
const KEY_STEP = 0.04; // how far an arrow key moves the pen
const RASTER_SIDE = 196; // pixels of the picture that is read

export class Pad {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {() => void} onChange
   */
  constructor(canvas, onChange) {
    this.canvas = canvas;
    this.onChange = onChange;
    /** @type {Stroke[]} */
    this.strokes = [];
    /** @type {ImageBitmap | null} a picture that is shown instead of strokes */
    this.picture = null;
    /** @type {number | null} the pointer that draws */
    this.pointer = null;
    /** @type {{ x: number, y: number, isDown: boolean } | null} the pen of the keyboard */
    this.cursor = null;
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => this.end(/** @type {PointerEvent} */ (event)));
    }
    canvas.addEventListener("keydown", (event) => this.press(event));
    canvas.addEventListener("blur", () => {
      this.cursor = null;
      this.draw();
    });
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  get isEmpty() {
    return !this.strokes.length && !this.picture;
  }

  /** @param {PointerEvent} event */
  begin(event) {
    if (this.pointer !== null || event.button !== 0) return;
    this.pointer = event.pointerId;
    this.canvas.setPointerCapture(event.pointerId);
    this.cursor = null;
    this.picture = null;
    this.strokes.push([]);
    this.move(event);
  }

  /** @param {PointerEvent} event */
  move(event) {
    if (event.pointerId !== this.pointer) return;
    const box = this.canvas.getBoundingClientRect();
    const events = event.getCoalescedEvents?.() ?? [];
    for (const part of events.length ? events : [event]) {
      // Only pens and some screens measure the pressure; a mouse always reports a half.
      const pressure = part.pointerType === "pen" && part.pressure ? part.pressure : 0.5;
      this.strokes[this.strokes.length - 1].push({
        x: (part.clientX - box.left) / box.width,
        y: (part.clientY - box.top) / box.height,
        width: PEN_WIDTH * (0.5 + 2 * pressure ** 2),
      });
    }
    this.change();
  }

  /** @param {PointerEvent} event */
  end(event) {
    if (event.pointerId === this.pointer) this.pointer = null;
  }

  /** @param {KeyboardEvent} event */
  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const step = moves[/** @type {keyof typeof moves} */ (event.key)];
    if (!step && event.key !== " ") return;
    event.preventDefault();
    /** @type {{ x: number, y: number, isDown: boolean }} */
    const cursor = this.cursor ?? { x: 0.5, y: 0.2, isDown: false };
    this.cursor = cursor;
    if (step) {
      cursor.x = Math.min(Math.max(cursor.x + KEY_STEP * step[0], 0), 1);
      cursor.y = Math.min(Math.max(cursor.y + KEY_STEP * step[1], 0), 1);
    } else {
      cursor.isDown = !cursor.isDown;
      if (cursor.isDown) {
        this.picture = null;
        this.strokes.push([]);
      }
    }
    if (cursor.isDown) {
      this.strokes[this.strokes.length - 1]?.push({ x: cursor.x, y: cursor.y, width: PEN_WIDTH });
      this.change();
    } else {
      this.draw();
    }
  }

  undo() {
    if (this.cursor) this.cursor.isDown = false;
    if (this.picture) this.picture = null;
    else this.strokes.pop();
    this.change();
  }

  clear() {
    if (this.cursor) this.cursor.isDown = false;
    this.strokes = [];
    this.picture = null;
    this.change();
  }

  /** @param {ImageBitmap} picture */
  show(picture) {
    this.clear();
    this.picture = picture;
    this.change();
  }

  change() {
    this.draw();
    this.onChange();
  }

  /** Show the strokes, or the picture. */
  draw() {
    const side = Math.round(this.canvas.clientWidth * devicePixelRatio) || RASTER_SIDE;
    this.canvas.width = side;
    this.canvas.height = side;
    const pen = pen2d(this.canvas);
    const colours = getComputedStyle(this.canvas);
    if (this.picture) {
      const scale = side / Math.max(this.picture.width, this.picture.height);
      const [width, height] = [this.picture.width * scale, this.picture.height * scale];
      pen.drawImage(this.picture, (side - width) / 2, (side - height) / 2, width, height);
    }
    drawStrokes(pen, this.strokes, side, colours.color);
    if (this.cursor) {
      pen.strokeStyle = colours.getPropertyValue("--accent");
      pen.fillStyle = pen.strokeStyle;
      pen.lineWidth = side / 100;
      pen.beginPath();
      pen.arc(this.cursor.x * side, this.cursor.y * side, (PEN_WIDTH * side) / 2, 0, 7);
      if (this.cursor.isDown) pen.fill();
      pen.stroke();
    }
  }

  /**
   * The drawing as a picture: black on white.
   * @returns {Picture}
   */
  raster() {
    const pen = pen2d(newCanvas(RASTER_SIDE, RASTER_SIDE));
    pen.fillStyle = "white";
    pen.fillRect(0, 0, RASTER_SIDE, RASTER_SIDE);
    drawStrokes(pen, this.strokes, RASTER_SIDE, "black");
    const pixels = pen.getImageData(0, 0, RASTER_SIDE, RASTER_SIDE).data;
    const data = Float32Array.from({ length: RASTER_SIDE ** 2 }, (_, index) => pixels[4 * index] / 255);
    return { width: RASTER_SIDE, height: RASTER_SIDE, channels: 1, data };
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

"""Measure the HTML page of the bundled model: in V8, in Chromium, and its export.

Writes a section of `docs/reference/benchmarks.md`. MNIST must be in the data folder and the machine
idle; Chromium, Playwright and the extra `html` must be installed:

    python scripts/bench_page.py [--rounds 5]
"""

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

import bench
from mnistctl import datasets
from mnistctl.api import models
from mnistctl.exports.html import V8Predictor
from mnistctl.models import formats

IMAGES = 300  # per round
WARM_UP = 100  # readings before the clock starts: V8 compiles the functions that are used often
LIVE = """() => {
    const label = document.getElementById("label");
    return new Promise((done) => {
      const observer = new MutationObserver(() => done(performance.now()));
      observer.observe(label, { childList: true, characterData: true, subtree: true });
      const pad = document.getElementById("pad");
      const box = pad.getBoundingClientRect();
      const send = (kind, x, y) => pad.dispatchEvent(new PointerEvent(kind, {
        pointerId: 1, button: 0, isPrimary: true, clientX: box.left + x * box.width,
        clientY: box.top + y * box.height,
      }));
      pad.setPointerCapture = () => {};
      send("pointerdown", 0.5, 0.2);
      send("pointermove", 0.5, 0.8);
    });
}"""


FRAMES = """async () => {
    const pad = document.getElementById("pad");
    const box = pad.getBoundingClientRect();
    const times = [];
    for (let step = 0; step < 60; step++) {
      pad.dispatchEvent(new PointerEvent("pointermove", {
        pointerId: 1, clientX: box.left + (0.3 + 0.005 * step) * box.width,
        clientY: box.top + 0.5 * box.height,
      }));
      const started = performance.now();
      await new Promise(requestAnimationFrame); // the page reads the drawing in the same frame
      await new Promise((done) => setTimeout(done));
      times.push(performance.now() - started);
    }
    return times.sort((one, other) => one - other)[30];
}"""


def reading_ms(page: V8Predictor, images: Any) -> float:
    """Milliseconds per reading of an image by the page's script."""
    started = time.perf_counter()
    page(images)
    return 1e3 * (time.perf_counter() - started) / len(images)


def onnx_ms(path: Path, images: Any) -> float:
    """Milliseconds per reading of an image by onnxruntime, one image at a time."""
    predictor = models.open_predictor(path)
    started = time.perf_counter()
    for image in images:
        predictor(image[None])
    return 1e3 * (time.perf_counter() - started) / len(images)


def in_browser_ms(browser: Any, page: Path) -> tuple[float, float]:
    """Milliseconds in Chromium from opening the file to the first answer, and per frame of drawing."""
    tab = browser.new_page()
    tab.goto(page.as_uri(), wait_until="commit")
    tab.wait_for_selector("#bars li")
    first, frame = float(tab.evaluate(LIVE)), float(tab.evaluate(FRAMES))
    tab.close()
    return first, frame


def main() -> None:
    """Measure in turns and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    images = datasets.load("mnist", "test").images[:IMAGES]
    exports, in_v8, in_onnx, in_chromium = [], [], [], []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "reader.html"
        command = [*bench.MNISTCTL, "export", "bundled", "--format", "html", "-o", str(path)]
        exports.append(bench.measure([*command, "--json", "-q"]))
        check = json.loads(exports[0].stdout)[0]
        page = V8Predictor(path)
        page(images[:WARM_UP])
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        in_browser_ms(browser, path)  # not counted: starts the renderer
        for _ in range(arguments.rounds):
            in_v8.append(reading_ms(page, images))
            in_onnx.append(onnx_ms(models.bundled(formats.ONNX), images))
            in_chromium.append(in_browser_ms(browser, path))
        browser.close()
    rows = {
        "one reading in V8, the page's script": in_v8,
        "one reading by onnxruntime, the bundled ONNX file": in_onnx,
        "in Chromium, from opening the file to the first answer": [row[0] for row in in_chromium],
        "in Chromium, a frame while one draws, at most 60 in a second": [row[1] for row in in_chromium],
    }
    parity = check["parity"]
    bench.write_section(
        "bench_page",
        "The HTML page",
        [
            "| what | median, ms | range |",
            "| --- | --- | --- |",
            *(f"| {title} | {bench.median_and_range(values)} |" for title, values in rows.items()),
            "",
            f"The page of the bundled model has {check['bytes']:,} bytes. Its export with all checks "
            f"took {exports[0].seconds:.0f} s: V8 read the {parity['images']:,} test images, of which "
            f"{parity['disagreements']} had another answer than in PyTorch. The accuracy is "
            f"{100 * parity['exported_accuracy']:.2f}%, in PyTorch "
            f"{100 * parity['reference_accuracy']:.2f}%.",
        ],
    )


if __name__ == "__main__":
    main()

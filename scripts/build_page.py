"""Build the bundled model's page for the documentation, and a picture of it.

    python scripts/build_page.py

The script exports the bundled model to `docs/reader.html`, with all checks. It opens the page in
Chromium, draws a digit, and writes `docs/reader.png`. MNIST must be in the data folder; Chromium,
Playwright and the extra `html` must be installed.
"""

import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

import mnistctl

DOCS = Path(__file__).parents[1] / "docs"
STROKE = [(0.3, 0.25), (0.42, 0.15), (0.6, 0.16), (0.67, 0.28), (0.6, 0.42), (0.47, 0.47)]
STROKE += [(0.63, 0.52), (0.7, 0.66), (0.62, 0.8), (0.46, 0.85), (0.3, 0.79)]
WIDTH, HEIGHT = 1100, 900  # of the window, in pixels


def main() -> None:
    """Write the page and the picture."""
    page = DOCS / "reader.html"
    mnistctl.export("bundled", format="html", output=page, force=True)
    with sync_playwright() as playwright:
        # Chromium's sandbox does not run as root.
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        tab.goto(page.as_uri())
        box = tab.locator("#pad").bounding_box()
        assert box is not None
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in STROKE]
        tab.mouse.move(*places[0])
        tab.mouse.down()
        for place in places[1:]:
            tab.mouse.move(*place, steps=4)
        tab.mouse.up()
        tab.wait_for_timeout(3_000)  # until the evidence is there
        tab.screenshot(path=DOCS / "reader.png")
        browser.close()


if __name__ == "__main__":
    main()

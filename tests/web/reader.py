"""The page in a browser, and pens and fingers that draw on it."""

from pathlib import Path
from typing import Any

THREE = [(0.3, 0.25), (0.45, 0.15), (0.65, 0.2), (0.66, 0.35), (0.5, 0.47), (0.68, 0.58), (0.68, 0.75)]
THREE += [(0.5, 0.85), (0.3, 0.78)]


class Reader:
    """The page in a tab of its own. Keeps its messages and its requests.

    Args:
        browser: the fixture of that name.
        page: a file, or an address.
        options: of the browser's context.
    """

    def __init__(self, browser: Any, page: Path | str, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.tab = self.context.new_page()
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.tab.on("console", lambda message: self.messages.append(message.text))
        self.tab.on("pageerror", lambda error: self.messages.append(str(error)))
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.goto(page.as_uri() if isinstance(page, Path) else page)
        self.devtools = self.context.new_cdp_session(self.tab)

    def place(self, x: float, y: float, box: Any = None) -> dict[str, float]:
        """A place on the pad, from 0 to 1, in the window."""
        box = box or self.tab.locator("#pad").bounding_box()
        return {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]}

    def draw(self, points: list[tuple[float, float]], *, force: list[float] | None = None) -> None:
        """Draw a stroke with a pen."""
        forces = force or [0.5] * len(points)
        box = self.tab.locator("#pad").bounding_box()
        pen = {"button": "left", "buttons": 1, "pointerType": "pen", "clickCount": 1}
        for number, (point, pressure) in enumerate(zip(points, forces, strict=True)):
            kind = "mouseMoved" if number else "mousePressed"
            event = {"type": kind, "force": pressure, **self.place(*point, box), **pen}
            self.devtools.send("Input.dispatchMouseEvent", event)
        event = {"type": "mouseReleased", **self.place(*points[-1], box), **pen, "buttons": 0}
        self.devtools.send("Input.dispatchMouseEvent", event)

    def touch(self, points: list[tuple[float, float]]) -> None:
        """Draw a stroke with a finger."""
        for number, point in enumerate(points):
            event = {
                "type": "touchMove" if number else "touchStart",
                "touchPoints": [self.place(*point)],
            }
            self.devtools.send("Input.dispatchTouchEvent", event)
        self.devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    def settle(self) -> None:
        """Wait until the drawing has been read: two frames."""
        frames = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        self.tab.evaluate(frames)

    @property
    def label(self) -> str:
        self.settle()
        return str(self.tab.locator("#label").inner_text())

    @property
    def verdict(self) -> str:
        self.settle()
        return str(self.tab.locator("#verdict").inner_text())

"""Charts of what was measured, for people; each function gives a PNG."""

from pathlib import Path
from typing import Any

from mnistctl import figures

_BARS = {  # key -> title, how a value is written
    "latency_ms": ("one image, ms\n(less is better)", "{:.2f}"),
    "images_per_second": ("images a second, by 256\n(more is better)", "{:,.0f}"),
    "bytes": ("size, kB\n(less is better)", "{:,.0f}"),
}


def benchmark(found: dict[str, Any]) -> bytes:
    """Bars of latency, speed and size, a row for each format that was measured.

    Args:
        found: what `Benchmark.to_json` gives, with one format done or more.
    """
    rows = [row for row in found["formats"] if row["status"] == "done"][::-1]
    names = [row["format"] for row in rows]
    name = "/".join(Path(found["model"]).parts[-2:])  # with its run
    figure = figures.new_figure(11, 1.8 + 0.5 * len(rows), name)
    panels = figure.subplots(1, len(_BARS), sharey=True)
    for axes, (key, (title, shown)) in zip(panels, _BARS.items(), strict=True):
        values = [row[key] / 1e3 if key == "bytes" else row[key] for row in rows]
        bars = axes.barh(names, values, color=figures.RIGHT, height=0.6)
        axes.bar_label(bars, [shown.format(value) for value in values], padding=3)
        axes.set_title(title, fontsize=figures.FONT_SIZE)
        axes.set_xlim(0, 1.3 * max(values))
        axes.set_xticks([])
        axes.spines[["top", "right", "bottom"]].set_visible(False)
    return figures.png(figure)

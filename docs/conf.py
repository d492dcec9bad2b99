"""How Sphinx builds the documentation: `nox -s docs`."""

import json
from pathlib import Path
from typing import Any

project = "mnistctl"
author = "the authors of mnistctl"
project_copyright = "the authors of mnistctl"
extensions = ["myst_parser", "sphinx_copybutton"]
source_suffix = {".md": "markdown", ".ipynb": "markdown"}
exclude_patterns = ["_build"]
nitpicky = True
smartquotes = False  # "--option" would become "–option"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "mnistctl"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_logo = html_favicon = "_static/logo.svg"
html_copy_source = False
html_show_sphinx = False
copybutton_prompt_text = "$ "
pygments_style = "friendly"
pygments_dark_style = "monokai"


def show_notebook(app: Any, name: str, source: list[str]) -> None:
    """Turn a notebook into Markdown with its stored outputs. No cell is run."""
    path = Path(app.env.doc2path(name))
    if path.suffix == ".ipynb":
        cells = json.loads(source[0])["cells"]
        source[0] = "\n\n".join(part for cell in cells for part in cell_parts(cell))


def cell_parts(cell: Any) -> list[str]:
    """A cell of a notebook, and its outputs, as paragraphs of Markdown."""
    text = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [text]
    parts = [f"```python\n{text}\n```"]
    for output in cell["outputs"]:
        image = output.get("data", {}).get("image/png")
        if image is not None:
            parts.append(f"![the output of the cell](data:image/png;base64,{''.join(image.split())})")
        elif "text" in output:
            parts.append(f"```text\n{''.join(output['text'])}\n```")
    return parts


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", show_notebook)

"""The sources of the HTML page that reads digits in a browser, and how they become one file."""

import base64
import hashlib
import re
from importlib.resources import files

# The modules of the page, each after those that it imports.
_MODULES = (
    "net",
    "prepare",
    "reading",
    "evidence",
    "model",
    "pad",
    "pictures",
    "server",
    "view",
    "main",
)
_IMPORT = re.compile(
    r'^(?:import [^;]* from "\./\w+\.js";|/\*\* @import [^*]* from "\./\w+\.js" \*/)\n', re.MULTILINE
)
_PROMISES = {
    False: "The page reads your drawing on this device, and sends nothing.",
    True: "The page sends your drawing to the server that it came from, which reads it.",
}
_EXPORT = re.compile(r"^export ", re.MULTILINE)


def source(name: str) -> str:
    """The content of a file of this folder."""
    return (files(__name__) / name).read_text("utf-8")


def module(name: str) -> str:
    """A module without imports and exports, to be run after those that it imports."""
    return _EXPORT.sub("", _IMPORT.sub("", source(f"{name}.js")))


def script() -> str:
    """All modules of the page as one script."""
    return "\n".join(map(module, _MODULES))


def build_page(*, model: str, footer: str, asks_server: bool = False) -> str:
    """The page as one file.

    Args:
        model: as JSON.
        footer: HTML.
        asks_server: whether the page lets the server that it came from read drawings.
    """
    parts = {"style": source("style.css"), "script": script()}
    hashes = {f"{name}_hash": _hash(content) for name, content in parts.items()}
    # In an element of HTML, only "<" could end the JSON.
    values = parts | hashes | {"model": model.replace("<", "\\u003c"), "footer": footer}
    values |= {
        "connect": "; connect-src 'self'" if asks_server else "",
        "promise": _PROMISES[asks_server],
    }
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], source("page.html"))


def script_of(page: str) -> str:
    """The script of a page that `build_page` has made."""
    return page.rpartition('<script type="module">')[2].partition("</script>")[0]


def _hash(content: str) -> str:
    """The hash of an inline script or style for the page's Content-Security-Policy."""
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()

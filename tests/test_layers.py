"""Imports point downwards only."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "mnistctl"

# A module may import from its own floor and from below.
FLOORS = {
    "errors": 0,
    "files": 0,
    "interrupts": 0,
    "provenance": 0,
    "torchrun": 0,
    "architectures": 1,
    "config": 1,
    "recipe_table": 1,
    "formats": 1,
    "metadata": 1,
    "predictor": 1,
    "metrics": 1,
    "checkpoint": 1,
    "signed": 1,
    "run_folder": 1,
    "watcher": 1,
    "datasets": 1,
    "images": 1,
    "onnx_safety": 1,
    "onnx_predictor": 2,
    "openvino_predictor": 2,
    "nn": 2,
    "models": 3,
    "evaluation": 3,
    "figures": 3,
    "charts": 3,
    "showing": 3,
    "tracking": 3,
    "exports": 3,
    "workflows": 4,
    "cli": 5,
    "": 5,
    "__main__": 5,
}


def modules() -> dict[str, Path]:
    """Dotted name under mnistctl -> file."""
    found = {}
    for path in SOURCE.rglob("*.py"):
        parts = list(path.relative_to(SOURCE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(name: str, path: Path) -> set[str]:
    """The project's modules that a module imports anywhere in it, for types too."""
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    known = modules()
    inside = {
        item.removeprefix("mnistctl").lstrip(".") for item in found if item.startswith("mnistctl")
    }
    return {item if item in known else item.rpartition(".")[0] for item in inside} - {name}


def floor_of(name: str) -> int:
    return FLOORS[name.split(".")[0]]


def test_every_module_has_a_floor() -> None:
    assert {name.split(".")[0] for name in modules()} == set(FLOORS)


@pytest.mark.parametrize("name", sorted(modules()))
def test_imports_point_downwards(name: str) -> None:
    others = imports_of(name, modules()[name]) - {""}

    above = {other for other in others if floor_of(other) > floor_of(name)}

    assert not above


def test_there_are_no_cycles() -> None:
    graph = {name: imports_of(name, path) for name, path in modules().items()}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in done:
            for other in graph[name] - {""}:
                visit(other, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_only_the_command_line_knows_typer_and_rich() -> None:
    for name, path in modules().items():
        text = path.read_text(encoding="utf-8")
        if not name.startswith("cli"):
            assert "import typer" not in text
            assert "from rich" not in text

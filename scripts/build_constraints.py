"""Write `constraints.txt`: the versions that mnistctl was tested with.

    python scripts/build_constraints.py

Run it in an environment in which the tests pass, with all extras and dependency groups. The file lists
what they need, directly and indirectly.
"""

import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mnistctl.system import files

ROOT = Path(__file__).parents[1]
FILE = ROOT / "constraints.txt"
HEADER = """\
# The versions that mnistctl was tested with: of its dependencies, extras and dependency groups.
#
#     pip install -c constraints.txt .
#
# Written by scripts/build_constraints.py, with Python {python} on {platform}.
"""
# torch names the exact versions of these libraries of CUDA, which differ by platform and build.
OF_TORCH = re.compile(r"(cuda|nvidia)-.*|triton")


def requirements(project: Mapping[str, Any]) -> Iterator[str]:
    """All requirements in pyproject.toml: of the package, its extras and the dependency groups."""
    yield from project["project"]["dependencies"]
    for extra in project["project"]["optional-dependencies"].values():
        yield from extra
    for group in project["dependency-groups"].values():
        yield from (item for item in group if isinstance(item, str))  # others include a group


def versions(lines: Iterator[str]) -> dict[str, str]:
    """Package -> installed version, of everything that these requirements need here.

    Raises:
        importlib.metadata.PackageNotFoundError: a package is not installed.
    """
    result: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    queue = [Requirement(line) for line in lines]
    while queue:
        requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        extras = {(name, extra) for extra in ("", *requirement.extras)} - seen
        if name == "mnistctl" or OF_TORCH.fullmatch(name) or not extras:
            continue
        seen |= extras
        result[name] = importlib.metadata.version(name).partition("+")[0]  # without +cpu
        for line in importlib.metadata.requires(name) or []:
            nested = Requirement(line)
            marker = nested.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for _, extra in extras):
                queue.append(nested)
    return result


def text(versions: Mapping[str, str]) -> str:
    """The content of the file."""
    python = ".".join(map(str, sys.version_info[:2]))
    lines = [f"{name}=={version}\n" for name, version in sorted(versions.items())]
    return HEADER.format(python=python, platform=sys.platform) + "".join(lines)


def main() -> None:
    """Write the file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    files.write_bytes(FILE, text(versions(requirements(project))).encode())


if __name__ == "__main__":
    main()

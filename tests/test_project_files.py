"""The files for maintainers agree with the project: constraints, checks before a commit, GitHub."""

import ast
import importlib.metadata
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import build_constraints
from tests.helpers import ROOT

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
HOOKS = ROOT / ".pre-commit-config.yaml"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")
VERSIONS = dict(line.split("==") for line in CONSTRAINTS.splitlines() if not line.startswith("#"))

only_in_the_repository = pytest.mark.skipif(
    not HOOKS.exists(), reason="the source distribution has no files for GitHub and for commits"
)


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def jobs(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = load(path)["jobs"]
    return found


def commands(job: Any) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def sessions() -> set[str]:
    """The functions of noxfile.py that are sessions."""
    module = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    functions = [item for item in module.body if isinstance(item, ast.FunctionDef)]
    return {item.name for item in functions if "nox.session" in map(decorator, item.decorator_list)}


def decorator(node: ast.expr) -> str:
    return ast.unparse(node).partition("(")[0]


def named_sessions(value: Any) -> Iterator[str]:
    """The sessions in the commands of a job, also those that its matrix inserts."""
    for command in commands(value):
        for names in re.findall(r"nox (?:-R )?-s (\$\{\{.*?\}\}|[\w ]+)", command):
            if key := re.match(r"\$\{\{ matrix\.(\w+)", names):
                yield from " ".join(value["strategy"]["matrix"][key[1]]).split()
            else:
                yield from names.split()


def test_the_constraints_name_a_version_that_every_requirement_allows() -> None:
    for line in build_constraints.requirements(PROJECT):
        requirement = Requirement(line)
        version = VERSIONS.get(canonicalize_name(requirement.name))
        is_allowed = version is not None and requirement.specifier.contains(version)
        assert is_allowed, f"{line}: run scripts/build_constraints.py"


def test_the_constraints_are_names_and_versions_only() -> None:
    for name, version in VERSIONS.items():
        assert name == canonicalize_name(name)
        assert Version(version).local is None, name  # an index has no +cpu
    assert list(VERSIONS) == sorted(VERSIONS)


def test_indirect_requirements_are_constrained_and_libraries_of_cuda_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packages = {
        "direct": ("1.0+cpu", ["indirect>=1; extra == 'more'", "elsewhere; sys_platform == 'none'"]),
        "indirect": ("2.0", ["direct", "nvidia-cublas==1", "triton==3"]),
    }
    monkeypatch.setattr(importlib.metadata, "version", lambda name: packages[name][0])
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: packages[name][1])

    plain = build_constraints.versions(iter(["Direct"]))
    with_extra = build_constraints.versions(iter(["Direct", "direct[more]"]))

    assert plain == {"direct": "1.0"}
    assert with_extra == {"direct": "1.0", "indirect": "2.0"}


@only_in_the_repository
def test_the_tools_before_a_commit_have_the_versions_of_the_constraints() -> None:
    hooks = [hook for repository in load(HOOKS)["repos"] for hook in repository["hooks"]]
    pins = [Requirement(line) for hook in hooks for line in hook.get("additional_dependencies", ())]

    assert {"ruff", "codespell"} <= {pin.name for pin in pins}
    for pin in pins:
        assert pin.name not in VERSIONS or str(pin.specifier) == f"=={VERSIONS[pin.name]}"


@only_in_the_repository
def test_every_session_runs_in_a_workflow_and_no_workflow_names_another() -> None:
    named = {name for path in WORKFLOWS for job in jobs(path).values() for name in named_sessions(job)}

    assert named == sessions()


@only_in_the_repository
@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_pinned_actions_few_permissions_and_limits(path: Path) -> None:
    for line in re.findall(r"uses: (.*)", path.read_text(encoding="utf-8")):
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)

    assert load(path)["permissions"] == {"contents": "read"}
    assert "concurrency" in load(path)
    for job in jobs(path).values():
        assert job["timeout-minutes"] <= 180
        assert set(job.get("permissions", ())) <= {"id-token"}


@only_in_the_repository
def test_only_the_last_job_of_a_release_can_publish_and_it_runs_no_other_code() -> None:
    release = jobs(GITHUB / "workflows" / "release.yml")

    assert [name for name, job in release.items() if "permissions" in job] == ["publish"]
    assert set(release["publish"]["needs"]) == {"try", "tests"}
    assert commands(release["publish"]) == []
    for job in ("try", "tests"):
        assert release[job]["needs"] == "build"
        assert not any("checkout" in step.get("uses", "") for step in release[job]["steps"])


@only_in_the_repository
def test_the_form_for_bugs_asks_for_the_output_of_doctor() -> None:
    form = load(GITHUB / "ISSUE_TEMPLATE" / "bug.yml")

    (field,) = (item for item in form["body"] if "mnistctl doctor" in item["attributes"]["label"])
    assert field["validations"]["required"]


@only_in_the_repository
def test_vulnerabilities_are_reported_at_the_address_of_the_repository() -> None:
    address = PROJECT["project"]["urls"]["Homepage"] + "/security/advisories/new"
    (link,) = load(GITHUB / "ISSUE_TEMPLATE" / "config.yml")["contact_links"]

    assert link["url"] == address
    assert address in (ROOT / "SECURITY.md").read_text(encoding="utf-8")

"""The checks: `nox -s tests`, `nox -s lint`, `nox -s types`."""

import nox

nox.options.sessions = ["tests", "lint", "types"]
GROUPS = nox.project.load_toml("pyproject.toml")


@nox.session
def tests(session: nox.Session) -> None:
    """All tests, with the lines of src they run; arguments after -- go to pytest."""
    session.install(".", *nox.project.dependency_groups(GROUPS, "test"))
    session.run("pytest", *(session.posargs or ["--cov", "--cov-report=term"]))


@nox.session
def lint(session: nox.Session) -> None:
    """Style, and the imports that must stay inside functions."""
    session.install(*nox.project.dependency_groups(GROUPS, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types, strictly."""
    session.install(".", *nox.project.dependency_groups(GROUPS, "types"))
    session.run("mypy")

"""The checks: `nox -s tests`, `nox -s lint`, `nox -s types`."""

import nox

nox.options.sessions = ["tests", "lint", "types"]
GROUPS = nox.project.load_toml("pyproject.toml")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, a worker per core, with coverage; arguments after -- go to pytest."""
    session.install(".", *nox.project.dependency_groups(GROUPS, "test"))
    session.run(
        "pytest",
        *("-n", "auto", "--dist", "worksteal"),
        *(session.posargs or ["--cov", "--cov-report=term"]),
        env={"OMP_NUM_THREADS": "1"},  # the workers share the cores
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting and the direction of imports."""
    session.install(*nox.project.dependency_groups(GROUPS, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", "--no-cache", env={"PYTHONPATH": "src"})


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    session.install(".", *nox.project.dependency_groups(GROUPS, "types"))
    session.run("mypy")

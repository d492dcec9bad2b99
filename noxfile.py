"""The checks: `nox -s tests`, `nox -s lint`, `nox -s types`, `nox -s docs`, and `nox -s lowest`."""

import shutil
from pathlib import Path

import nox

nox.options.sessions = ["tests", "lint", "types", "docs"]
GROUPS = nox.project.load_toml("pyproject.toml")
BIOME, TYPESCRIPT = "@biomejs/biome@2.6.8", "typescript@7.0.2"  # of npm
GITHUB_SCHEMAS = {  # of check-jsonschema -> the files in .github
    "vendor.github-workflows": "workflows/*.yml",
    "custom.github-workflows-require-timeout": "workflows/*.yml",
    "vendor.dependabot": "dependabot.yml",
    "vendor.github-issue-config": "ISSUE_TEMPLATE/config.yml",
    "vendor.github-issue-forms": "ISSUE_TEMPLATE/[!c]*.yml",
}


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


@nox.session(python="3.11")
def lowest(session: nox.Session) -> None:
    """Run the tests with the oldest Python and the oldest dependencies that pyproject.toml allows."""
    session.install("uv")  # pip cannot select the oldest versions
    versions = Path(session.create_tmp()) / "lowest.txt"
    session.run(
        *("uv", "pip", "compile", "--quiet", "--no-deps", "--resolution=lowest-direct"),
        *("--all-extras", "pyproject.toml", f"--output-file={versions}"),
    )
    group = nox.project.dependency_groups(GROUPS, "test")
    session.run("uv", "pip", "install", f"--constraints={versions}", ".", *group)
    session.run(
        *("pytest", "-n", "auto", "--dist", "worksteal"),
        # Old packages warn of what is deprecated in newer ones.
        *("-W", "default::DeprecationWarning", *session.posargs),
        env={"OMP_NUM_THREADS": "1"},
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, spelling, imports and the files for GitHub; JavaScript and CSS with npm."""
    session.install(*nox.project.dependency_groups(GROUPS, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    texts = [*Path().glob("*.md"), *Path().glob("*.toml"), *Path().glob("*.py")]
    session.run("codespell", ".github", "docs", "scripts", "src", "tests", *map(str, texts))
    session.run("lint-imports", "--no-cache", env={"PYTHONPATH": "src"})
    session.run("zizmor", "--offline", "--quiet", ".github")
    for schema, files in GITHUB_SCHEMAS.items():
        paths = map(str, sorted(Path(".github").glob(files)))
        session.run("check-jsonschema", f"--builtin-schema={schema}", *paths)
    # Versions are not pinned: a container gets the newest ones. A comment belongs to one command.
    session.run("hadolint", "--ignore=DL3013", "--ignore=DL3059", "docs/deploy/Dockerfile")
    if shutil.which("npm") is None:
        session.warn("npm is not installed: the sources of the HTML page are not checked")
        return
    folder = Path("src/mnistctl/web")
    scripts, styles = ([*map(str, sorted(folder.glob(f"*.{kind}")))] for kind in ("js", "css"))
    run = ("npm", "exec", "--yes")
    options = ("--indent-style=space", "--line-width=104", "--error-on-warnings")
    session.run(
        *(*run, f"--package={BIOME}", "--", "biome", "check", *options, *scripts, *styles),
        external=True,
    )
    checks = ("--strict", "--noUnusedLocals", "--noUnusedParameters", "--noImplicitReturns")
    target = ("--target", "es2022", "--module", "es2022", "--moduleResolution", "bundler")
    session.run(
        *(*run, f"--package={TYPESCRIPT}", "--", "tsc", "--noEmit", "--allowJs", "--checkJs"),
        *(*checks, *target, "--lib", "es2022,dom,dom.iterable"),
        *scripts,
        external=True,
    )


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    session.install(".", *nox.project.dependency_groups(GROUPS, "types"))
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation, into docs/_build; warnings and broken links are errors."""
    session.install(*nox.project.dependency_groups(GROUPS, "docs"))
    session.run("sphinx-build", "-W", "--keep-going", "-n", "-q", "docs", "docs/_build")

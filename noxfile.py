"""The tests with every supported Python: ``make test-all``, or ``nox -- tests/unit``."""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_existing_virtualenvs = True


@nox.session(python=["3.11", "3.12", "3.13", "3.14"])
def tests(session: nox.Session) -> None:
    """Run the fast tests, or those that are given."""
    dev = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "dev")
    session.install("--quiet", "--editable", ".[tiffslide]", *dev)
    chosen = session.posargs or ["-m", "not slow"]
    session.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen)

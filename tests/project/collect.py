"""Collect the tests of projects one after the other, on libraries that are imported once.

Runs in the environment of a project; prints how each collection ended, as JSON. In one process
instead of forks of it: polars starts its threads when it is imported, and a fork waits for them
forever.
"""

import contextlib
import io
import json
import os
import sys
from pathlib import Path

import pytest


def collect(project: Path) -> dict[str, int | str]:
    """Return the exit status of `pytest --collect-only` in a project, and what it said."""
    os.chdir(project)
    sys.path.insert(0, str(project / "src"))
    options = ["--collect-only", "--quiet", "-n", "0", "-p", "no:cacheprovider"]
    out = io.StringIO()
    # A conftest.py that cannot be imported is said on stderr.
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        status = pytest.main(options)
    sys.path.pop(0)
    for name in own_modules(project):
        del sys.modules[name]
    return {"status": status, "said": out.getvalue()}


def own_modules(project: Path) -> set[str]:
    """Find what was imported from a project: the next one has modules of the same name."""
    return {
        name
        for name, module in sys.modules.items()
        for place in (getattr(module, "__file__", None), *getattr(module, "__path__", []))
        if place and Path(place).is_relative_to(project)
    }


if __name__ == "__main__":
    json.dump({folder: collect(Path(folder)) for folder in sys.argv[1:]}, sys.stdout)

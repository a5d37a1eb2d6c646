"""How much of the disk each extra of the library takes."""

import shutil
import sys
from pathlib import Path

from measure import SLUG, TEMPLATE, Bench, Contender, Quantity, timed

# The group of a default project that holds an extra, and but for `test` nothing else.
GROUPS = {
    "serve": "serve",
    "train": "main",
    "aws": "deploy",
    "sagemaker": "sagemaker",
    "spark": "spark",
    "load": "load",
    "testing": "test",
}
EXTRAS = [Quantity(f"`ml-ready[{extra}]` on disk", "MB") for extra in GROUPS]


def extras(bench: Bench) -> dict[str, Contender]:
    """All that an extra installs, `ml-ready` among it, alone in an empty environment.

    The packages are those that a default project locks. What two extras need counts in both.
    With `testing` come pytest-cov and pytest-xdist. Python itself, pip and compiled files are not
    there. A MB is 10⁶ bytes of files.
    """

    def ours() -> dict[str, float]:
        folder = bench.new_folder("extras")
        timed([Path(sys.executable).with_name("cookiecutter"), "--no-input", TEMPLATE], folder)
        project = folder / SLUG
        figures = {}
        for quantity, group in zip(EXTRAS, GROUPS.values(), strict=True):
            poetry = ["poetry", "install", "--no-interaction", "--no-root", "--only", group]
            timed([sys.executable, "bootstrap.py", *poetry], project)
            figures[quantity.name] = _megabytes(project / ".venv")
            shutil.rmtree(project / ".venv")
        return figures

    return {"ml-ready": ours}


def _megabytes(folder: Path) -> float:
    """Sum up the sizes of the files in a folder; a link to Python is none of them."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files) / 1e6

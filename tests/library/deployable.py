"""A tiny project that can be deployed: the settings of the template, and no code."""

import json
from pathlib import Path

import jinja2

TEMPLATE = Path(__file__).parents[2] / "{{cookiecutter.project_slug}}"
ANSWERS = {"project_slug": "parcels", "aws_region": "eu-central-1", "artifact_bucket": ""}
# Instead of the true one, which would install Poetry first.
BOOTSTRAP = """
import os


class BootstrapError(Exception):
    pass


def ensure_poetry(verbose):
    if "NO_INDEX" in os.environ:
        raise BootstrapError("the package index does not answer")


def environment():
    names = ("USERNAME", "PASSWORD")
    login = {f"POETRY_HTTP_BASIC_PYPI_{name}": os.environ.get(name, "") for name in names}
    index = {"POETRY_PYPI_MIRROR_URL": "https://index.example/simple"}
    return {**os.environ, **index, **login, "REQUESTS_CA_BUNDLE": "/certificates.pem"}


def named_indexes():
    return dict(each.split("=") for each in os.environ.get("INDEXES", "").split())
"""


def write_project(root: Path) -> None:
    """Write what the commands for AWS read of a project.

    Parameters
    ----------
    root : pathlib.Path
        Gets `conf/deploy/` as the template renders it, what images are built from, and
        `pyproject.toml`.
    """
    rendering = jinja2.Environment(autoescape=False, keep_trailing_newline=True)  # noqa: S701
    rendering.filters["quote"] = json.dumps
    for source in TEMPLATE.glob("conf/deploy/*.yaml"):
        target = root / source.relative_to(TEMPLATE)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = rendering.from_string(source.read_text(encoding="utf-8"))
        target.write_text(text.render(cookiecutter=ANSWERS), encoding="utf-8")
    (root / "container").mkdir()
    (root / "container" / "Dockerfile").write_text("FROM scratch\n", encoding="utf-8")
    (root / ".dockerignore").write_text("*\n!poetry.lock\n!src\n", encoding="utf-8")
    (root / "poetry.lock").write_text("package = []\n", encoding="utf-8")
    (root / "bootstrap.py").write_text(BOOTSTRAP, encoding="utf-8")
    name = ANSWERS["project_slug"]
    (root / "pyproject.toml").write_text(f'[project]\nname = "{name}"\n', encoding="utf-8")

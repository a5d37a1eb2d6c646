"""The command `ml-ready`: each of its commands is imported when it is called."""

import importlib
import sys
import tomllib
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from . import runner
from .errors import ProjectError

if TYPE_CHECKING:
    from .project import Project

_SETTINGS = "pyproject.toml"


class _Command(NamedTuple):
    """Where a command is, what it needs, and what it does."""

    module: str
    extra: str
    help: str


# Commands of a project: `main(project, where, arguments)`.
_OF_PROJECT = {
    "configure": _Command("jobs.configure", "train", "write params.yaml from conf/"),
    "predict": _Command("jobs.predict", "train", "score a file of records"),
    "check": _Command(
        "testing.checks", "serve,testing,train", "hold the project to the library's contract"
    ),
}
# Commands that know a project by its folder: `main(arguments)`, or the function named.
OF_FOLDER = {
    "image": _Command("aws.images", "aws", "build the images of container/Dockerfile"),
    "pipeline": _Command("aws.pipeline", "aws", "deploy and run the pipeline on SageMaker"),
    "registry": _Command("aws.registry", "aws", "list, register, approve and reject versions"),
    "endpoint": _Command("aws.endpoint", "aws", "deploy versions, roll back, show the state"),
    "experiment": _Command("aws.experiment", "aws", "compare two variants"),
    "iam": _Command("aws.iam", "aws", "print the IAM policy of a role or a team"),
    "load": _Command("aws.load", "aws", "put load on a running server"),
    "sagemaker-local": _Command("aws.local", "aws", "run jobs and pipeline in local containers"),
    "docs": _Command("docs", "train", "open the documentation in the browser"),
    "upgrade": _Command("pin:upgrade", "", "use another version of ml-ready, if the checks pass"),
    "use-index": _Command("pin:use_index", "", "take ml-ready from a package index"),
    "with-checkout": _Command("pin:with_checkout", "", "run a command on a checkout of ml-ready"),
}
COMMANDS = _OF_PROJECT | OF_FOLDER


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the command line names.

    Parameters
    ----------
    arguments : sequence of str, optional
        Instead of those of this process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = words[0] if words else "--help"
    if name in ("-h", "--help"):
        sys.stdout.write(_usage())
    elif name == "--version":
        sys.stdout.write(f"ml-ready {metadata.version('ml-ready')}\n")
    else:
        runner.run(lambda: _run(name, words[1:]), root=_root(Path.cwd()))


def _root(folder: Path) -> Path:
    """Return the nearest folder with `pyproject.toml`, from this one upwards, or this one."""
    above = (folder, *folder.parents)
    return next((each for each in above if (each / _SETTINGS).is_file()), folder)


def load_project(folder: Path) -> "Project":
    """Import the project of a repository.

    Parameters
    ----------
    folder : pathlib.Path
        The repository, or a folder in it.

    Returns
    -------
    Project
        What `project` of `[tool.ml-ready]` in `pyproject.toml` names, such as
        `flight_delays.project:PROJECT`.

    Raises
    ------
    ProjectError
        When there is no `pyproject.toml` at or above the folder, or the nearest one names none.
    """
    from .project import Project

    for each in (folder, *folder.parents):
        if (each / _SETTINGS).is_file():
            settings = tomllib.loads((each / _SETTINGS).read_text(encoding="utf-8"))
            reference = settings.get("tool", {}).get("ml-ready", {}).get("project", "")
            module, _, attribute = str(reference).partition(":")
            if not (module and attribute):
                break
            project = getattr(importlib.import_module(module), attribute, None)
            if isinstance(project, Project):
                return project
            raise ProjectError(
                f"{each / _SETTINGS}: tool.ml-ready.project is {reference}, expected the name of a "
                "Project, such as flight_delays.project:PROJECT.",
                "Correct it.",
            )
    raise ProjectError(
        f"{folder}: no {_SETTINGS} here names a project in [tool.ml-ready].",
        "Run the command in a project.",
    )


def _run(name: str, arguments: list[str]) -> None:
    if name not in COMMANDS:
        raise ProjectError(f"{name}: no such command, expected one of {', '.join(COMMANDS)}")
    command = COMMANDS[name]
    runner.require_extras(f"ml-ready {name}", command.extra)
    name_of_module, _, function = command.module.partition(":")
    module = importlib.import_module(f".{name_of_module}", __package__)
    if name in _OF_PROJECT:
        from .jobs.run import run

        project = load_project(Path.cwd())
        work: Callable[..., None] = module.main
        sys.argv = [f"ml-ready {name}", *arguments]
        run(lambda where, options: work(project, where, options), project.root)
    else:
        getattr(module, function or "main")(arguments)


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {each.help}" for name, each in COMMANDS.items()]
    return "\n".join(["usage: ml-ready COMMAND …, or ml-ready COMMAND --help", "", *lines, ""])

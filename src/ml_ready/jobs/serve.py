"""Serve: answer predictions over HTTP until SIGTERM.

Import this module before the project. It imports nothing that imports polars, which reads its
number of threads when it is imported.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import job
from .folders import Paths

if TYPE_CHECKING:
    from ..project import Project

# Requests are small: handing them to other threads costs more than they could save.
os.environ.setdefault("POLARS_MAX_THREADS", "1")


def main(project: "Project", where: Paths, arguments: Sequence[str]) -> None:
    """Load the model and listen.

    Parameters
    ----------
    project : Project
    where : Paths
    arguments : sequence of str
        `--host`, `--port` and `--model`.

    Raises
    ------
    ProjectError
        When the model cannot be loaded or the port cannot be had.
    """
    parser = argparse.ArgumentParser(
        "serve", description="Serve: answer predictions over HTTP until SIGTERM."
    )
    # SageMaker mounts the model, and asks from outside of the container.
    hosted = job.base() / "model"
    host, folder = ("0.0.0.0", hosted) if hosted.is_dir() else ("127.0.0.1", where.models)  # noqa: S104
    port = os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")
    parser.add_argument("--host", default=host, help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=_port, default=port, help="%(default)s; 0 takes a free one")
    parser.add_argument("--model", type=Path, default=folder, help="folder (%(default)s)")
    options = parser.parse_args(arguments)
    from ..serving.server import serve

    serve(project, options.model, options.host, options.port)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{port} is not a port, expected 0 to 65535")
    return port

"""Predict: score a file of records into another file."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from ..project import Project
from ..serving.batch import score_file
from ..serving.predictor import Predictor
from .folders import Paths

_log = logging.getLogger(__name__)


def main(project: Project, where: Paths, arguments: Sequence[str]) -> None:
    """Add a prediction to each row of a file.

    Parameters
    ----------
    project : Project
    where : Paths
    arguments : sequence of str
        The file to read, the file to write, and options: `ml-ready predict --help` lists them.

    Raises
    ------
    ContractError
        When the input is empty or lacks a column, or a row breaks a rule.
    ModelError
        When the model cannot be loaded.
    ProjectError
        When a file cannot be read or written.
    """
    parser = argparse.ArgumentParser("predict", description=__doc__)
    parser.add_argument("input", type=Path, help="records: .parquet, .csv or .jsonl")
    parser.add_argument("output", type=Path, help="file to write, of any of these kinds")
    parser.add_argument("--model", type=Path, default=where.models, help="folder (%(default)s)")
    parser.add_argument(
        "--skip-invalid",
        action="store_true",
        help="give rows that break the contract a reason instead of refusing the file",
    )
    options = parser.parse_args(arguments)
    predictor = Predictor(project, options.model)
    summary = score_file(
        predictor, options.input, options.output, skip_invalid=options.skip_invalid
    )
    for rule, rows in summary.broken.items():
        _log.warning("%s: %d rows without a prediction", rule, rows)
    _log.info("%d rows written to %s", summary.rows, options.output)

"""`check_project`: the named checks that the library requires of a project.

A check is a function of a `Subject`: the project, the records of its source, and a model that is
trained on them. The check raises a ProjectError that says what is wrong with which value, and which
file of the project to change.
"""

import argparse
import asyncio
import io
import itertools
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import grimp
import httpx
import msgspec
import numpy as np
import polars as pl
import yaml

from .. import windows
from ..artifact import WINDOWS
from ..errors import ProjectError
from ..jobs.folders import Paths
from ..jobs.preprocess import require_no_leakage
from ..project import Project
from ..serving.predictor import load, score
from ..serving.server import create_app
from ..training.checkpoints import Checkpoints
from ..training.export import export, require_parity
from ..windows import extent, require_outcomes
from .generate import draw
from .subject import Subject

_DESCRIPTION = "Hold the project to what the library relies on; a model is trained twice."
_FEATURES = "Change features() in preprocessing/features.py"
_TARGET = "Change target() in preprocessing/features.py"
_MODEL = "Change training/model.py"
_KINDS = ("application/json", "application/jsonlines", "text/csv")
# How many records are drawn, and how many of them are computed one by one.
_DRAWN, _ALONE = 200, 30

_Check = Callable[[Subject], None]


class _CutOffError(Exception):
    """Ends a training at a checkpoint, as an interruption does."""


def check_configuration_fits_the_schema(subject: Subject) -> None:
    """`conf/` has no unknown key, and names columns and features that there are."""
    subject.config  # noqa: B018 - reading it checks it


def check_features_need_nothing_later(subject: Subject) -> None:
    """Features use only columns that are known at prediction time."""
    require_no_leakage(subject.project)


def check_features_of_any_record(subject: Subject) -> None:
    """Any record that the contract allows has its features, of the promised types."""
    project = subject.project
    rows = draw(project.inputs, _DRAWN)
    frame = _features(project, rows)
    _require(
        frame.height == rows.height,
        f"{rows.height} records become {frame.height} rows: expected one each.",
        _FEATURES,
    )
    for name in project.feature_names:
        numeric = name in project.numeric
        dtype = pl.Float32() if numeric else pl.String()
        _require(
            frame[name].dtype == dtype,
            f"{name} is {frame[name].dtype}, expected {dtype}.",
            _FEATURES,
        )
        wrong = ~frame[name].is_finite().fill_null(True) if numeric else frame[name].is_null()
        allowed = "finite or missing" if numeric else "never missing"
        _require_none(wrong, rows, f"{name} is {{value}}, expected {allowed}", frame[name])


def check_features_are_row_wise(subject: Subject) -> None:
    """A record has the same features alone, among others and in another order."""
    project = subject.project
    rows = draw(project.inputs, _ALONE)
    together = _features(project, rows)
    alone = pl.concat([_features(project, rows[number]) for number in range(rows.height)])
    reverse = _features(project, rows.reverse()).reverse()
    for other, how in ((alone, "alone"), (reverse, "in reverse order")):
        for name in project.feature_names:
            values = together[name]
            _require(
                other.height == together.height,
                f"{rows.height} records become {other.height} rows {how}.",
                _FEATURES,
            )
            differs = values.ne_missing(other[name])
            reason = (
                f"{name} is {{value}} among other rows but not {how}, expected one value per row"
            )
            _require_none(differs, rows, reason, values)


def check_features_are_deterministic(subject: Subject) -> None:
    """The same records have the same features each time."""
    first, again = (_features(subject.project, subject.known) for _ in range(2))
    changed = [name for name in first.columns if not first[name].equals(again[name])]
    _require(not changed, f"{', '.join(changed)}: two runs on the same records differ.", _FEATURES)


def check_target_is_known(subject: Subject) -> None:
    """Each row that is kept has a target, and no row is added."""
    project = subject.project
    table = project.add_target(project.features(subject.records.lazy())).collect()
    _require(project.target in table.columns, f"there is no column {project.target}.", _TARGET)
    unknown = table[project.target].null_count()
    _require(not unknown, f"{project.target} is missing in {unknown} rows.", _TARGET)
    _require(
        table.height <= subject.records.height,
        f"{subject.records.height} records become {table.height} rows, expected no more.",
        _TARGET,
    )


def check_windows_follow_each_other(subject: Subject) -> None:
    """Where windows are cut by time, each begins after the one before has ended."""
    if subject.project.split is not windows.cut:
        return
    column = subject.config.data.split.column
    cut = [extent(subject.windows[name], column) for name in WINDOWS]
    for earlier, later in itertools.pairwise(cut):
        _require(
            earlier.high < later.low,
            f"{column} overlaps: {earlier.high} and {later.low}.",
            "Change conf/data",
        )


def check_windows_have_several_outcomes(subject: Subject) -> None:
    """Each window holds more than one outcome."""
    target = subject.project.target
    require_outcomes(
        {name: extent(window, target) for name, window in subject.windows.items()}, target
    )


def check_fit_is_reproducible(subject: Subject) -> None:
    """Two fits on the same rows, with the same seed, predict the same."""
    second = subject.fit()
    first, again = _predicted(subject, subject.model), _predicted(subject, second)
    _require(
        np.array_equal(first, again),
        f"a second fit has other scores, by up to {np.abs(first - again).max():.2g}.",
        f"{_MODEL}: give `seed` to all that is random",
    )
    _require(
        export(subject.project, second) == subject.exported,
        "the export of a second fit differs from that of the first.",
        f"{_MODEL}: give `seed` to all that is random",
    )


def check_fit_goes_on_after_an_interruption(subject: Subject) -> None:
    """A fit that is cut off at its third checkpoint resumes, and ends as it would have."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            subject.fit(checkpoints=_CutOff(Path(folder), "check"))
        except _CutOffError:
            resumed = subject.fit(checkpoints=Checkpoints(Path(folder), "check"))
        else:
            return  # it keeps fewer checkpoints
    whole, again = _predicted(subject, subject.model), _predicted(subject, resumed)
    _require(
        np.array_equal(whole, again),
        f"after an interruption the scores differ, by up to {np.abs(whole - again).max():.2g}.",
        f"{_MODEL}: resume from checkpoints.load()",
    )
    _require(
        export(subject.project, resumed) == subject.exported,
        "after an interruption the export differs.",
        f"{_MODEL}: resume from checkpoints.load()",
    )


def check_predictions_are_one_per_row(subject: Subject) -> None:
    """`predict` returns one finite row of scores per input row."""
    test = subject.windows["test"]
    scores = _predicted(subject, subject.model)
    _require(
        scores.shape[:1] == (test.height,),
        f"predict() returns scores of shape {scores.shape} for {test.height} rows.",
        _MODEL,
    )
    _require(bool(np.isfinite(scores).all()), "predict() returns NaN or infinity.", _MODEL)


def check_export_has_parity(subject: Subject) -> None:
    """The exported model predicts what the trained one does; exporting changes nothing."""
    trained = _predicted(subject, subject.model)
    tolerance = subject.config.evaluation.parity_tolerance
    session = load(subject.project, subject.exported)
    require_parity(trained, score(subject.project, session, subject.windows["test"]), tolerance)
    _require(
        np.array_equal(trained, _predicted(subject, subject.model)),
        "export() changes the scores of the model.",
        f"{_MODEL}: let export() leave it as it is",
    )
    _require(
        export(subject.project, subject.model) == subject.exported,
        "two exports of one model differ.",
        f"{_MODEL}: let export() depend on the model alone",
    )


def check_any_record_is_scored(subject: Subject) -> None:
    """Any record that the contract allows gets a finite score, the one of the trained model."""
    project, session = subject.project, load(subject.project, subject.exported)
    tolerance = subject.config.evaluation.parity_tolerance

    table = _features(project, draw(project.inputs, _DRAWN))
    exported = score(project, session, table)
    require_parity(project.training.predict(subject.model, table), exported, tolerance)


def check_batch_and_server_agree(subject: Subject) -> None:
    """A record is scored alike in a request and in a file."""
    predictor = subject.predictor
    batch = predictor.frame(subject.known)
    request = predictor.records(subject.known.to_dicts())
    _require(
        np.array_equal(batch, request),
        f"scores of requests and files differ, by up to {np.abs(batch - request).max():.2g}.",
        _FEATURES,
    )


def check_formats_agree(subject: Subject) -> None:
    """JSON, JSON Lines and CSV get the same answers."""
    answers = {kind: _answers(subject, kind) for kind in _KINDS}
    first = answers[_KINDS[0]]
    for kind, other in answers.items():
        _require(other == first, f"{kind} gets other answers than {_KINDS[0]}.", _FEATURES)


def check_a_field_may_be_missing(subject: Subject) -> None:
    """A request without an optional field is answered; one without a required field is refused."""
    (row,) = subject.known.head(1).to_dicts()
    for column in subject.project.inputs:
        rest = {name: value for name, value in row.items() if name != column.name}
        response = _post(subject, msgspec.json.encode({"instances": [rest]}), _KINDS[0])
        expected = 200 if column.nullable else 422
        _require(
            response.status_code == expected,
            f"a request without {column.name} is answered with {response.status_code}, "
            f"expected {expected}.",
            _FEATURES,
        )


def check_stages_list_their_code(subject: Subject) -> None:
    """`dvc.yaml` lists the files of the project that each stage imports."""
    path = subject.project.root / "dvc.yaml"
    _require(path.is_file(), "dvc.yaml is missing.", "Copy it from a new project of the template")
    stages = yaml.safe_load(path.read_text(encoding="utf-8"))["stages"]
    folder = next(subject.project.root.glob("src/*/entrypoints"), None)
    if folder is None:
        raise ProjectError(
            "src: no package has the folder entrypoints.", "Copy it from a new project."
        )
    package = folder.parent.name
    for stage, entrypoint in _ENTRYPOINTS.items():
        listed = {name for name in map(str, _deps(stages, stage)) if name.endswith(".py")}
        used = _code(package, f"{package}.entrypoints.{entrypoint}")
        if stage == "ingest":  # it makes no features
            used = {name for name in used if "/preprocessing/" not in name}
        for names, fault, remedy in (
            (used - listed, "lack what it imports", "Add it"),
            (listed - used, "list what it does not import", "Remove it"),
        ):
            _require(
                not names,
                f"dvc.yaml: the deps of {stage} {fault}: {', '.join(sorted(names))}.",
                remedy,
            )


_ENTRYPOINTS = {
    "ingest": "process",
    "preprocess": "process",
    "train": "train",
    "evaluate": "evaluate",
}

CHECKS: Mapping[str, tuple[_Check, ...]] = {
    "preprocessing": (
        check_configuration_fits_the_schema,
        check_features_need_nothing_later,
        check_features_of_any_record,
        check_features_are_row_wise,
        check_features_are_deterministic,
        check_target_is_known,
        check_windows_follow_each_other,
        check_windows_have_several_outcomes,
    ),
    "training": (
        check_fit_is_reproducible,
        check_fit_goes_on_after_an_interruption,
        check_predictions_are_one_per_row,
        check_export_has_parity,
        check_any_record_is_scored,
    ),
    "inference": (
        check_batch_and_server_agree,
        check_formats_agree,
        check_a_field_may_be_missing,
    ),
    "pipeline": (check_stages_list_their_code,),
}


def check_project(project: Project) -> None:
    """Hold a project to the contract, as scikit-learn's `check_estimator` does an estimator.

    All of `CHECKS` run, on the data in `conf/config.yaml`'s `source`; a model is trained twice.

    Parameters
    ----------
    project : Project

    Raises
    ------
    ProjectError
        Naming each check that failed, with its reason.

    Examples
    --------
    A test can run the checks of one topic, each by itself:

    >>> from ml_ready.testing.checks import CHECKS
    >>> [check.__name__ for check in CHECKS["pipeline"]]
    ['check_stages_list_their_code']
    """
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject(project, Path(folder) / "models")
        for check in (each for checks in CHECKS.values() for each in checks):
            try:
                check(subject)
            except ProjectError as error:
                failures.append(f"{check.__name__}: {error}")
            except Exception as error:  # code of the project can raise anything
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                failures.append(f"{check.__name__}: {reason}")
    if failures:
        raise ProjectError("\n".join(failures))


def main(project: Project, where: Paths, arguments: Sequence[str]) -> None:
    """Run `check_project`, and print how many checks passed.

    Parameters
    ----------
    project : Project
    where : Paths
    arguments : sequence of str
        None.

    Raises
    ------
    ProjectError
        As `check_project` does.
    """
    argparse.ArgumentParser("ml-ready check", description=_DESCRIPTION).parse_args(arguments)
    # What the server logs of refused requests is meant here.
    logging.disable(logging.WARNING)
    try:
        check_project(project)
    finally:
        logging.disable(logging.NOTSET)
    sys.stdout.write(f"{sum(map(len, CHECKS.values()))} checks passed\n")


class _CutOff(Checkpoints):
    """Ends a training at its third checkpoint."""

    _saved = 0

    def save(self, name: str, state: Any) -> None:
        super().save(name, state)
        self._saved += 1
        if self._saved == 3:
            raise _CutOffError


def _require(condition: bool, problem: str, remedy: str) -> None:
    if not condition:
        raise ProjectError(problem, f"{remedy}.")


def _require_none(wrong: pl.Series, rows: pl.DataFrame, reason: str, values: pl.Series) -> None:
    """Stop at the first row that is wrong; `{value}` of the reason is the value there."""
    positions = wrong.arg_true()
    if len(positions):
        first = int(positions[0])
        row = rows.row(first, named=True)
        raise ProjectError(f"{reason.format(value=values[first])}, for {row}.", f"{_FEATURES}.")


def _features(project: Project, records: pl.DataFrame) -> pl.DataFrame:
    frame: pl.DataFrame = project.features(records.lazy()).collect()
    return frame


def _predicted(subject: Subject, model: Any) -> np.ndarray:
    return subject.project.training.predict(model, subject.windows["test"])


def _post(subject: Subject, content: bytes, kind: str) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(subject.predictor))
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.post(
                "/invocations", content=content, headers={"content-type": kind}
            )

    return asyncio.run(send())


def _answers(subject: Subject, kind: str) -> list[Any]:
    rows = subject.known.to_dicts()
    if kind == "application/json":
        content = msgspec.json.encode({"instances": rows})
    elif kind == "application/jsonlines":
        content = msgspec.json.Encoder().encode_lines(rows)
    else:
        content = subject.known.write_csv().encode()
    response = _post(subject, content, kind)
    _require(response.status_code == 200, f"{kind}: {response.text}", _FEATURES)
    if kind == "application/json":
        predictions: list[Any] = response.json()["predictions"]
        return predictions
    if kind == "application/jsonlines":
        return [json.loads(line) for line in response.text.splitlines()]
    return pl.read_csv(io.BytesIO(response.content)).to_dicts()


def _deps(stages: Mapping[str, Any], stage: str) -> list[Any]:
    _require(
        stage in stages, f"dvc.yaml: the stage {stage} is missing.", "Copy it from a new project"
    )
    return list(stages[stage].get("deps", []))


def _code(package: str, entrypoint: str) -> set[str]:
    """Return the files that an entrypoint imports, directly or not."""
    graph = grimp.build_graph(package, cache_dir=None)
    modules = {entrypoint, *graph.find_upstream_modules(entrypoint)}
    if entrypoint.endswith(".train"):  # it imports the model by its name, at first use
        modules |= {f"{package}.training.model"}
    return {f"src/{name.replace('.', '/')}.py" for name in modules if not graph.find_children(name)}

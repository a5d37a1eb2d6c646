"""`check_project`: every check holds for sound projects, and fails for the part that it is for."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import handmade
import narwhals as nw
import numpy as np
import polars as pl
import pytest
import synthetic
from ml_ready.errors import ProjectError
from ml_ready.jobs.folders import Paths
from ml_ready.project import Project
from ml_ready.serving.predictor import Predictor
from ml_ready.testing import checks
from ml_ready.testing.checks import CHECKS, check_project
from ml_ready.testing.subject import Subject
from ml_ready.training.export import export

ALL = [check for family in CHECKS.values() for check in family]
STAGES = {"ingest": "process", "preprocess": "process", "train": "train", "evaluate": "evaluate"}
PARTS = ("entrypoints/process", "entrypoints/train", "entrypoints/evaluate", "training/model")


def with_package(project: Project, name: str, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Give a project a package of its own, and a `dvc.yaml` that lists its files."""
    package = project.root / "src" / name
    (project.root / "src" / "parcels").rename(package)
    for folder in (package / "entrypoints", package / "training"):
        folder.mkdir()
        (folder / "__init__.py").touch()
    for part in PARTS:
        (package / f"{part}.py").touch()
    text = "stages:\n"
    for stage, entrypoint in STAGES.items():
        text += f"  {stage}:\n    deps:\n      - src/{name}/entrypoints/{entrypoint}.py\n"
        if stage == "train":
            text += f"      - src/{name}/training/model.py\n"
    (project.root / "dvc.yaml").write_text(text)
    monkeypatch.syspath_prepend(str(project.root / "src"))
    return project


@pytest.fixture(scope="module", params=synthetic.TASKS)
def sound(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A sound project of each task."""
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        project = synthetic.make(folder / "project", request.param)
        with_package(project, f"sound_{request.param}", patch)
        yield Subject(project, folder / "models")


@pytest.mark.parametrize("check", ALL, ids=lambda check: check.__name__)
def test_a_sound_project_passes(check: Callable[[Subject], None], sound: Subject) -> None:
    check(sound)


def features(change: Callable[[Any], Any]) -> dict[str, Any]:
    """Features of the synthetic project, changed."""
    return {"features": lambda frame: change(synthetic.features(frame))}


def model(**changed: Any) -> dict[str, Any]:
    """The model of the synthetic project, changed; `own` is given the true one."""
    from synthetic_classifier import Hyperparameters, fit, predict

    parts = {"Hyperparameters": Hyperparameters, "fit": fit, "predict": predict}
    return {"model": SimpleNamespace(**parts | changed)}


def true(name: str) -> Any:
    import synthetic_classifier

    return getattr(synthetic_classifier, name)


def fit_at_random(*given: Any, **options: Any) -> Any:
    train, *rest = given
    return true("fit")(train.sample(400, seed=random.randrange(10**9)), *rest, **options)  # noqa: S311


def fit_that_forgets(train: Any, validation: Any, settings: Any, seed: int, **options: Any) -> Any:
    """Saves states, and learns from fewer rows where there is one."""
    checkpoints = options.get("checkpoints")
    if checkpoints is not None:
        again = checkpoints.load("state") is not None
        for _ in range(3):
            checkpoints.save("state", 1)
        train = train.head(300) if again else train
    return true("fit")(train, validation, settings, seed)


def export_of_another(fitted: Any) -> bytes:
    """Exports a model of other labels."""
    subject = Subject(fit_at_random.project, Path())  # type: ignore[attr-defined]
    table = subject.windows["train"]
    opposite = table.with_columns((1 - pl.col(synthetic.TARGET)).alias(synthetic.TARGET))
    other = true("fit")(opposite, subject.windows["validation"], subject.config.model, 0)
    return export(replace(subject.project, model=synthetic.CLASSIFIER), other)


def shift(frame: Any) -> Any:
    """A window function: the weight of the record before."""
    return frame.with_columns(weight=pl.col("weight").shift(1))


def noise(frame: Any) -> Any:
    values = pl.Series("weight", np.random.default_rng().random(1), pl.Float32)
    return frame.with_columns(weight=pl.lit(values[0], pl.Float32))


def unknown_target(records: Any) -> Any:
    frame = nw.from_native(records)
    late = (nw.col("hours") > synthetic.LATE_AFTER).cast(nw.Int8)
    return frame.with_columns(late.alias(synthetic.TARGET)).to_native()


def never_late(records: Any) -> Any:
    return synthetic.add_late(records).with_columns(pl.lit(0, pl.Int8).alias(synthetic.TARGET))


BROKEN: dict[str, tuple[dict[str, Any], str, str]] = {
    "features that need the outcome": (
        features(lambda frame: frame.with_columns(weight=pl.col("hours").cast(pl.Float32))),
        "check_features_need_nothing_later",
        "hours",
    ),
    "a feature of another type": (
        features(lambda frame: frame.with_columns(stops=pl.col("stops").cast(pl.Int32))),
        "check_features_of_any_record",
        "stops is Int32, expected Float32",
    ),
    "an infinite feature": (
        features(lambda frame: frame.with_columns(weight=1 / (pl.col("weight") * 0))),
        "check_features_of_any_record",
        "finite or missing",
    ),
    "a category that may be missing": (
        features(lambda frame: frame.with_columns(depot=pl.col("depot").replace("west", None))),
        "check_features_of_any_record",
        "depot is None, expected never missing",
    ),
    "features that drop rows": (
        features(lambda frame: frame.filter(pl.col("stops") > 0)),
        "check_features_of_any_record",
        "expected one each",
    ),
    "features of the row before": (
        features(shift),
        "check_features_are_row_wise",
        "expected one value per row",
    ),
    "features of all rows": (
        features(lambda frame: frame.with_columns(weight=pl.col("weight").mean())),
        "check_features_are_row_wise",
        "expected one value per row",
    ),
    "features at random": (
        features(noise),
        "check_features_are_deterministic",
        "weight: two runs on the same",
    ),
    "an unknown target": (
        {"add_target": unknown_target},
        "check_target_is_known",
        "outcome is missing in",
    ),
    "a target without a name": (
        {"target": "late"},
        "check_target_is_known",
        "there is no column late",
    ),
    "a target that adds rows": (
        {"add_target": lambda frame: pl.concat([synthetic.add_late(frame)] * 2)},
        "check_target_is_known",
        "expected no more",
    ),
    "one outcome": (
        {"add_target": never_late},
        "check_windows_have_several_outcomes",
        "outcome",
    ),
    "a fit at random": (
        model(fit=fit_at_random),
        "check_fit_is_reproducible",
        "give `seed` to all that is random",
    ),
    "a fit that forgets": (
        model(fit=fit_that_forgets),
        "check_fit_goes_on_after_an_interruption",
        "after an interruption the scores differ",
    ),
    "a prediction for all rows": (
        model(predict=lambda model, frame: true("predict")(model, frame)[:1]),
        "check_predictions_are_one_per_row",
        "predict() returns scores of shape",
    ),
    "no number": (
        model(predict=lambda model, frame: true("predict")(model, frame) * np.nan),
        "check_predictions_are_one_per_row",
        "predict() returns NaN",
    ),
    "the export of another model": (
        model(export=export_of_another),
        "check_export_has_parity",
        "The exported model differs",
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_part_fails_its_check(broken: str, tmp_path: Path) -> None:
    changes, name, reason = BROKEN[broken]
    project = replace(synthetic.make(tmp_path / "project"), **changes)
    fit_at_random.project = project  # type: ignore[attr-defined]
    with pytest.raises(ProjectError) as caught:
        getattr(checks, name)(Subject(project, tmp_path / "models"))
    assert reason in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_baseline_of_other_features_is_found(tmp_path: Path) -> None:
    project = synthetic.make(tmp_path / "project")
    path = project.root / "conf" / "config.yaml"
    text = path.read_text()
    assert "\n  - hour\n" in text, text
    path.write_text(text.replace("\n  - hour\n", "\n  - age\n"))
    with pytest.raises(ProjectError, match="evaluation.baseline_features=age: no such feature"):
        checks.check_configuration_fits_the_schema(Subject(project, tmp_path / "models"))


def test_windows_that_overlap_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Subject(synthetic.make(tmp_path / "project"), tmp_path / "models")
    whole = dict.fromkeys(subject.windows, subject.windows["train"])
    monkeypatch.setitem(subject.__dict__, "windows", whole)
    with pytest.raises(ProjectError, match="sent_at overlaps"):
        checks.check_windows_follow_each_other(subject)


class Served(Predictor):
    """A server whose scores are not those of a file, or that knows no missing field."""

    def records(self, rows: Any) -> np.ndarray:
        return super().records(rows) + 1e-3


def test_a_server_that_scores_otherwise_is_found(tmp_path: Path) -> None:
    subject = Subject(synthetic.make(tmp_path / "project"), tmp_path / "models")
    subject.__dict__["predictor"] = Served(subject.project, subject.models)
    with pytest.raises(ProjectError, match="scores of requests and files differ, by up to 0.001"):
        checks.check_batch_and_server_agree(subject)


def test_formats_that_are_answered_otherwise_are_found(
    sound: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "_answers", lambda _, kind: [kind])
    with pytest.raises(ProjectError, match="jsonlines gets other answers than application/json"):
        checks.check_formats_agree(sound)


def test_a_server_that_needs_an_optional_field_is_found(
    sound: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "_post", lambda *_: SimpleNamespace(status_code=422))
    with pytest.raises(ProjectError, match="without weight is answered with 422, expected 200"):
        checks.check_a_field_may_be_missing(sound)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("check_fit_is_reproducible", "the export of a second fit differs"),
        ("check_fit_goes_on_after_an_interruption", "after an interruption the export differs"),
    ],
)
def test_a_fit_that_is_exported_otherwise_is_found(
    name: str, reason: str, sound: Subject, tmp_path: Path
) -> None:
    other = Subject(sound.project, tmp_path / "models")
    other.__dict__.update(sound.__dict__, exported=b"another model")
    with pytest.raises(ProjectError, match=reason):
        getattr(checks, name)(other)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (
            "      - src/NAME/training/model.py\n",
            "",
            "the deps of train lack what it imports: src/NAME/training",
        ),
        (
            "entrypoints/evaluate.py\n",
            "entrypoints/evaluate.py\n      - src/NAME/training/model.py\n",
            "the deps of evaluate list what it does not import: src/NAME/training/model.py",
        ),
    ],
)
def test_a_stage_that_lists_other_code_is_found(
    before: str, after: str, reason: str, sound: Subject
) -> None:
    path = sound.project.root / "dvc.yaml"
    text = path.read_text()
    name = next((sound.project.root / "src").iterdir()).name
    old, new = (part.replace("NAME", name) for part in (before, after))
    assert old in text
    path.write_text(text.replace(old, new))
    try:
        with pytest.raises(ProjectError, match=reason.replace("NAME", name)):
            checks.check_stages_list_their_code(sound)
    finally:
        path.write_text(text)


@pytest.mark.parametrize(
    ("stages", "reason"),
    [
        ("stages: {}\n", "the stage ingest is missing"),
        (
            "stages: {ingest: {cmd: x}}\n",
            "the deps of ingest lack what it imports: src/.*/entrypoints/process.py",
        ),
    ],
)
def test_a_stage_that_is_not_there_is_told(stages: str, reason: str, sound: Subject) -> None:
    path = sound.project.root / "dvc.yaml"
    text = path.read_text()
    path.write_text(stages)
    try:
        with pytest.raises(ProjectError, match=reason):
            checks.check_stages_list_their_code(sound)
    finally:
        path.write_text(text)


def test_a_folder_without_entrypoints_is_told(tmp_path: Path) -> None:
    project = synthetic.make(tmp_path / "project")
    (project.root / "dvc.yaml").write_text("stages: {}\n")
    with pytest.raises(ProjectError, match="src: no package has the folder entrypoints"):
        checks.check_stages_list_their_code(Subject(project, tmp_path / "models"))


def test_a_project_without_stages_is_told(tmp_path: Path) -> None:
    subject = Subject(synthetic.make(tmp_path / "project"), tmp_path / "models")
    with pytest.raises(ProjectError, match=r"dvc.yaml is missing"):
        checks.check_stages_list_their_code(subject)


def test_every_check_is_named_in_one_family_and_can_fail() -> None:
    named = [name for name in vars(checks) if name.startswith("check_") and name != "check_project"]
    assert sorted(named) == sorted(check.__name__ for check in ALL)
    shown = {name for _, name, _ in BROKEN.values()}
    source = Path(__file__).read_text("utf-8")
    assert [name for name in named if name not in shown and f"checks.{name}(" not in source] == []


def test_a_record_without_a_score_is_found(tmp_path: Path) -> None:
    subject = Subject(synthetic.make(tmp_path / "project"), tmp_path / "models")
    subject.__dict__["exported"] = handmade.model(subject.project, "binary", broken_above=0.5)
    with pytest.raises(ProjectError, match="The model returned NaN or infinity for"):
        checks.check_any_record_is_scored(subject)


def test_check_project_names_every_check_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = with_package(synthetic.make(tmp_path / "project"), "failing", monkeypatch)
    # All of them: test_a_sound_project_passes.
    some = {name: CHECKS[name] for name in ("preprocessing", "pipeline")}
    monkeypatch.setattr(checks, "CHECKS", some)
    checks.main(project, Paths(project.root), [])
    assert capsys.readouterr().out == "9 checks passed\n"
    later = replace(project, features=lambda frame: frame.select(1 / pl.col("unknown")))
    with pytest.raises(ProjectError) as caught:
        check_project(later)
    assert "check_features_of_any_record: ColumnNotFoundError: " in str(caught.value)
    broken = replace(project, **BROKEN["features of the row before"][0])
    with pytest.raises(ProjectError) as caught:
        check_project(broken)
    names = [line.partition(":")[0] for line in str(caught.value).splitlines()]
    assert "check_features_are_row_wise" in names
    assert {"check_target_is_known", "check_stages_list_their_code"}.isdisjoint(names)

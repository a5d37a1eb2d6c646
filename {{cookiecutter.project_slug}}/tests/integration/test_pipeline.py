"""The stages together: what each writes is what the next reads, and a gate stops the chain."""

import errno
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

from {{ cookiecutter.package_name }} import contract
from {{ cookiecutter.package_name }}.config import WINDOWS, TrackingConfig
from {{ cookiecutter.package_name }}.entrypoints import (
    configure,
    evaluate,
    ingest,
    preprocess,
    train,
)
from {{ cookiecutter.package_name }}.entrypoints.environment import Paths, paths, run
from {{ cookiecutter.package_name }}.errors import (
    ConfigError,
    ContractError,
    GateError,
    ParityError,
)
from {{ cookiecutter.package_name }}.inference.predictor import Predictor
from {{ cookiecutter.package_name }}.prediction import Outputs
from {{ cookiecutter.package_name }}.preprocessing.features import features, target
from {{ cookiecutter.package_name }}.preprocessing.ingest import read
from {{ cookiecutter.package_name }}.schema import COLUMNS, TARGET
from {{ cookiecutter.package_name }}.training.baselines import CONSTANT
from {{ cookiecutter.package_name }}.training.tracking import record

QUICK = ["evaluation.bootstrap_samples=100"]
STAGES = (configure, ingest, preprocess, train, evaluate)


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """A repository in which every stage has run."""
    where = repository(tmp_path_factory.mktemp("repository"))
    for stage in STAGES:
        stage.main(where, QUICK if stage is evaluate else [])
    return where


def repository(root: Path) -> Paths:
    """A folder with this repository's configuration and source data."""
    for name in ("conf", "data/sample"):
        shutil.copytree(paths().root / name, root / name)
    return Paths(root)


@pytest.fixture
def own(where: Paths, tmp_path: Path) -> Paths:
    """A copy of it, free to be broken."""
    return Paths(shutil.copytree(where.root, tmp_path / "copy"))


def test_every_record_of_the_source_is_valid_or_set_aside(where: Paths) -> None:
    summary = json.loads((where.raw / "contract.json").read_text(encoding="utf-8"))
    config = configure.configuration(where)
    source = read(where.root / config.source / config.data.table)
    assert summary["valid"] + summary["quarantined"] == source.height
    assert pl.read_parquet(where.raw / "records.parquet").height == summary["valid"]


def test_no_column_known_only_later_reaches_the_features(where: Paths) -> None:
    later = {column.name for column in COLUMNS if not column.known_at_prediction}
    for window in WINDOWS:
        found = read(where.window(window))
        assert not (later - {TARGET}) & set(found.columns)
        assert TARGET in found.columns


def test_metadata_says_where_the_model_came_from(where: Paths) -> None:
    metadata = json.loads((where.models / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["contract_version"] == contract.version(COLUMNS)
    assert metadata["window"]["rows"] == read(where.window("train")).height
    assert metadata["hyperparameters"] == configure.configuration(where).model.model_dump()
    assert metadata["parity"] <= configure.configuration(where).evaluation.parity_tolerance
    assert Outputs(**metadata["outputs"]) == Predictor(where.models).outputs
    assert len(metadata["data_sha256"]) == 64


def test_a_raw_record_is_scored_as_its_features_are(where: Paths) -> None:
    records = pl.read_parquet(where.raw / "records.parquet")
    table = target(features(records.with_row_index("position").lazy())).collect()
    known = records[table["position"].to_list()]
    predictor = Predictor(where.models)
    assert (predictor.frame(known) == predictor.score(table)).all()


def test_the_report_holds_everything_in_one_file(where: Paths) -> None:
    page = (where.reports / "index.html").read_text(encoding="utf-8")
    assert "Gate passed" in page
    confidence = configure.configuration(where).evaluation.confidence
    assert f"{100 * confidence:g} % of bootstrap samples" in page
{%- if cookiecutter.task == 'classification' %}
    assert page.count("data:image/svg+xml") == 4
{%- else %}
    assert page.count("data:image/svg+xml") == len([*(where.reports / "plots/test").iterdir()])
{%- endif %}
    assert "http://" not in page
    assert "https://" not in page


def test_metrics_and_plots_are_written_for_dvc(where: Paths) -> None:
    measured = json.loads((where.reports / "metrics.json").read_text(encoding="utf-8"))
    least = configure.configuration(where).evaluation.minimum_gain
    for window in ("validation", "test"):
        assert measured[window]["gain"]["few_feature_linear"]["low"] > least
    for window in ("validation", "test"):
        plots = where.reports / "plots" / window
        tables = {path.stem: pl.read_csv(path) for path in plots.iterdir()}
        assert tables.keys() == {
{%- if cookiecutter.task == 'classification' %}
            "roc",
            "precision_recall",
            "calibration",
            "distribution",
            "confusion",
{%- else %}
            "residuals",
            "residuals_by_prediction",
            "calibration",
            *(["coverage"] if Predictor(where.models).outputs.levels else []),
{%- endif %}
        }
        assert all(table.height > 1 for table in tables.values())


def test_the_run_is_tracked(where: Paths) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{where.root}/mlflow.db")
    (experiment,) = (found for found in client.search_experiments() if found.name != "Default")
    seed = configure.configuration(where).seed
    run = client.search_runs([experiment.experiment_id], f"params.seed = '{seed}'")[-1]
    metadata = json.loads((where.models / "metadata.json").read_text(encoding="utf-8"))
    assert run.data.metrics == pytest.approx(metadata["metrics"])
    assert run.data.tags["data_sha256"]
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {
        "metadata.json",
        "model.onnx",
    }
    assert not (where.root / "mlruns").exists()


def track(root: Path, database: str = "runs.db") -> None:
    """Record a run in a database below a folder."""
    tracking = TrackingConfig(uri=f"sqlite:///{database}", experiment="any")
    artifacts = root / "artifacts"
    artifacts.mkdir(exist_ok=True)
    record(tracking, root, {"seed": 1}, {"loss": 0.5}, {}, artifacts)


def found(root: Path) -> list[str]:
    """Names of what lies in the folder but for artifacts."""
    return sorted(path.name for path in root.iterdir() if "artifacts" not in path.name)


@pytest.mark.parametrize(
    ("database", "reason"),
    [
        ("text/runs.db", "File exists"),
        ("artifacts", "unable to open database file"),
        ("text", "file is not a database"),
    ],
)
def test_a_database_that_cannot_be_used_is_named(
    tmp_path: Path, database: str, reason: str
) -> None:
    (tmp_path / "text").write_text("no database\n" * 100)
    said = f"^tracking.uri=sqlite:///{database}: the run is not kept: .*{reason}.*$"
    with pytest.raises(ConfigError, match=said):
        track(tmp_path, database)
    assert found(tmp_path) == ["text"]
    assert (tmp_path / "text").read_text() == "no database\n" * 100


def test_a_database_is_whole_or_not_there_where_nothing_can_be_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, "refused")

    monkeypatch.setattr(Path, "hardlink_to", refused)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refused)
        with pytest.raises(ConfigError, match="the run is not kept: .*refused"):
            track(tmp_path)
    assert found(tmp_path) == []
    track(tmp_path)
    assert found(tmp_path) == ["runs.db"]


def test_the_next_run_removes_what_a_killed_one_left_and_no_file_of_others(tmp_path: Path) -> None:
    for name in ("runs.db.4711.part", "runs.db.old", "other.db.4711.part"):
        (tmp_path / name).touch()
    track(tmp_path)
    assert found(tmp_path) == ["other.db.4711.part", "runs.db", "runs.db.old"]


@pytest.mark.parametrize("seeds", [["1"], ["1", "2"]])
def test_other_settings_are_tried_and_leave_the_model(
    own: Paths, caplog: pytest.LogCaptureFixture, seeds: list[str]
) -> None:
    before = (own.models / "model.onnx").read_bytes()
    with caplog.at_level("INFO"):
        train.main(own, [f"seed={','.join(seeds)}"])
    tried = [line for line in caplog.messages if ": validation " in line]
    assert [line.split(":")[0] for line in tried] == [f"seed={seed}" for seed in seeds]
    assert (own.models / "model.onnx").read_bytes() == before


@pytest.mark.parametrize(
    ("stage", "overrides", "error", "message"),
    [
        (configure, ["seed=none"], ConfigError, "seed=none"),
        (configure, ["source=data/nowhere"], ConfigError, "source=data/nowhere: no such folder"),
        (ingest, ["data.table=nothing.parquet"], ContractError, "no such file"),
        (configure, ["data.split.column=nothing"], ConfigError, "nothing: no such column"),
        (train, ["tracking.uri=ftp://nowhere"], ConfigError, "the run is not kept"),
        (train, ["evaluation.parity_tolerance=1e-12"], ParityError, "parity_tolerance"),
        (
            configure,
            ["evaluation.baseline_features=[nothing]"],
            ConfigError,
            "nothing: no such feature",
        ),
    ],
)
def test_a_gate_stops_the_stage(
    own: Paths, stage: ModuleType, overrides: Sequence[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        stage.main(own, [*QUICK, *overrides])


def test_a_model_that_is_not_good_enough_is_stopped_and_the_report_says_so(own: Paths) -> None:
    with pytest.raises(GateError, match=f"gain over {CONSTANT}"):
        evaluate.main(own, [*QUICK, "evaluation.minimum_gain=1"])
    assert "Gate failed" in (own.reports / "index.html").read_text(encoding="utf-8")


def test_broken_source_rows_are_set_aside_below_the_tolerance_and_stop_above(
    tmp_path: Path,
) -> None:
    where = repository(tmp_path)
    config = configure.configuration(where)
    shutil.copytree(where.root / config.source, tmp_path / "broken")
    path = tmp_path / "broken" / config.data.table
    table = read(path)
    limited = next(
        column for column in COLUMNS if column.maximum is not None and column.name in table.columns
    )
    beyond = pl.when(pl.int_range(pl.len()) < 3).then((limited.maximum or 0) + 1)
    broken = table.with_columns(beyond.otherwise(limited.name).alias(limited.name))
    broken.write_csv(path) if path.suffix == ".csv" else broken.write_parquet(path)
    ingest.main(where, ["source=broken", "data.tolerance=0.01"])
    quarantined = pl.read_parquet(where.raw / "quarantine.parquet")
    assert quarantined["reason"].to_list() == [f"{limited.name} {limited.rule}"] * 3
    before = (where.raw / "records.parquet").read_bytes()
    (where.raw / "quarantine.parquet").unlink()
    with pytest.raises(ContractError, match="3 of .* rows"):
        ingest.main(where, ["source=broken", "data.tolerance=0"])
    assert (where.raw / "records.parquet").read_bytes() == before
    assert pl.read_parquet(where.raw / "quarantine.parquet").height == 3


def test_a_mistake_ends_in_one_line_and_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["train", "depth=3"])
    with pytest.raises(SystemExit, match="error: depth=3: no such key"):
        run(configure.main)


def test_an_interrupt_ends_with_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(where: Paths, overrides: Sequence[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.argv", ["train"])
    with pytest.raises(SystemExit) as caught:
        run(interrupted)
    assert caught.value.code == 130


def test_tables_in_several_csv_files_are_read_like_one(where: Paths, own: Paths) -> None:
    config = configure.configuration(own)
    for name in (config.data.table, *(join.table for join in config.data.joins)):
        table = own.root / config.source / name
        rows = read(table)
        table.unlink()
        table.mkdir()
        for part in range(2):
            rows.gather_every(2, part).write_csv(table / f"{part}.csv")
    for stage in (ingest, preprocess):
        stage.main(own, [])
    for name in WINDOWS:
        assert read(own.window(name)).sort(pl.all()).equals(read(where.window(name)).sort(pl.all()))


def test_parts_of_an_earlier_run_do_not_stay(where: Paths, own: Paths) -> None:
    folder = own.window("train")
    shutil.copyfile(folder / "part-0.parquet", folder / "part-1.parquet")
    preprocess.main(own, [])
    assert read(folder).equals(read(where.window("train")))

"""The stages together: what each writes is what the next reads, and a gate stops the chain."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest
from {{ cookiecutter.package_name }} import contract
from {{ cookiecutter.package_name }}.entrypoints import configure, evaluate, ingest, preprocess, train
from {{ cookiecutter.package_name }}.entrypoints.environment import Paths, paths, run
from {{ cookiecutter.package_name }}.errors import ConfigError, ContractError, GateError, ParityError
from {{ cookiecutter.package_name }}.inference.predictor import Predictor
from {{ cookiecutter.package_name }}.schema import COLUMNS, TARGET

QUICK = ["model.max_iter=60", "evaluation.bootstrap_samples=100"]
STAGES = (configure, ingest, preprocess, train, evaluate)


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """A repository in which every stage has run."""
    where = repository(tmp_path_factory.mktemp("repository"))
    for stage in STAGES:
        stage.main(where, QUICK)
    return where


def repository(root: Path) -> Paths:
    """A folder with this repository's configuration and source data."""
    (root / "data").mkdir()
    (root / "conf").symlink_to(paths().conf)
    (root / "data" / "sample").symlink_to(paths().root / "data" / "sample")
    return Paths(root)


def test_every_record_of_the_source_is_valid_or_set_aside(where: Paths) -> None:
    summary = json.loads((where.raw / "contract.json").read_text(encoding="utf-8"))
    source = pl.read_parquet(where.root / "data" / "sample" / "flights.parquet")
    assert summary["valid"] + summary["quarantined"] == source.height
    assert pl.read_parquet(where.raw / "records.parquet").height == summary["valid"]


def test_no_column_known_only_later_reaches_the_features(where: Paths) -> None:
    later = {column.name for column in COLUMNS if not column.known_at_prediction}
    for window in ("train", "validation", "test"):
        found = pl.read_parquet(where.processed / f"{window}.parquet")
        assert not later & set(found.columns)
        assert TARGET in found.columns


def test_metadata_says_where_the_model_came_from(where: Paths) -> None:
    metadata = json.loads((where.models / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["contract_version"] == contract.version(COLUMNS)
    assert metadata["hyperparameters"]["max_iter"] == 60
    assert metadata["window"]["rows"] > 1000
    assert metadata["parity"] <= 1e-5
    assert 0 < metadata["threshold"] < 1
    assert len(metadata["data_sha256"]) == 64


def test_a_raw_record_is_scored_as_its_features_are(where: Paths) -> None:
    records = pl.read_parquet(where.raw / "records.parquet").filter(
        pl.col("arr_delay").is_not_null() & (pl.col("time_hour") >= pl.datetime(2013, 11, 1))
    )
    predictor = Predictor(where.models)
    processed = pl.read_parquet(where.processed / "test.parquet")
    in_order = records.sort("time_hour", maintain_order=True)
    assert (predictor.frame(in_order) == predictor.features(processed)).all()


def test_the_report_holds_everything_in_one_file(where: Paths) -> None:
    page = (where.reports / "index.html").read_text(encoding="utf-8")
    assert "Gate passed" in page
    assert page.count("data:image/svg+xml") == 4
    assert "http://" not in page
    assert "https://" not in page


def test_metrics_and_plots_are_written_for_dvc(where: Paths) -> None:
    measured = json.loads((where.reports / "metrics.json").read_text(encoding="utf-8"))
    assert measured["test"]["roc_auc"] > 0.6
    assert measured["validation"]["gain"]["few_feature_linear"]["low"] > 0
    assert {path.stem for path in (where.reports / "plots").iterdir()} == {
        "roc",
        "precision_recall",
        "calibration",
        "distribution",
        "confusion",
    }


def test_the_run_is_tracked(where: Paths) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{where.root}/mlflow.db")
    (experiment,) = (found for found in client.search_experiments() if found.name != "Default")
    run = client.search_runs([experiment.experiment_id], "params.max_iter = '60'")[0]
    assert run.data.metrics["roc_auc"] > 0.6
    assert run.data.tags["data_sha256"]
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"metadata.json", "model.onnx"}
    assert not (where.root / "mlruns").exists()


def test_a_sweep_tries_each_value_and_leaves_the_model(
    where: Paths, caplog: pytest.LogCaptureFixture
) -> None:
    before = (where.models / "model.onnx").read_bytes()
    with caplog.at_level("INFO"):
        train.main(where, ["model.max_iter=5,10"])
    tried = [line for line in caplog.messages if "validation ROC-AUC" in line]
    assert [line.split(":")[0] for line in tried] == ["model.max_iter=5", "model.max_iter=10"]
    assert (where.models / "model.onnx").read_bytes() == before


@pytest.mark.parametrize(
    ("stage", "overrides", "error", "message"),
    [
        (configure, ["model.max_iter=none"], ConfigError, "model.max_iter=none"),
        (ingest, ["source=data/nowhere"], ContractError, "no such file"),
        (ingest, ["data.joins=[{table: planes.parquet, keys: [tail]}]"], ContractError, "key tail"),
        (preprocess, ["data.split.validation_until=2020-01-01"], ContractError, "test window is empty"),
        (train, ["evaluation.parity_tolerance=1e-12"], ParityError, "parity_tolerance"),
        (evaluate, ["evaluation.baseline_features=[colour]"], ConfigError, "colour is not a feature"),
        (evaluate, ["evaluation.minimum_roc_auc=0.99"], GateError, "roc_auc on validation"),
    ],
)
def test_a_gate_stops_the_stage(
    where: Paths, stage: ModuleType, overrides: Sequence[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        stage.main(where, [*QUICK, *overrides])


def test_a_failed_gate_is_shown_in_the_report(where: Paths) -> None:
    with pytest.raises(GateError):
        evaluate.main(where, [*QUICK, "evaluation.minimum_gain=0.9"])
    assert "Gate failed" in (where.reports / "index.html").read_text(encoding="utf-8")
    evaluate.main(where, QUICK)


def test_broken_source_rows_are_set_aside_below_the_tolerance_and_stop_above(tmp_path: Path) -> None:
    where = repository(tmp_path)
    (where.root / "data" / "sample").unlink()
    source = where.root / "data" / "sample"
    source.mkdir()
    for path in (paths().root / "data" / "sample").glob("*.parquet"):
        (source / path.name).symlink_to(path)
    flights = pl.read_parquet(source / "flights.parquet")
    (source / "flights.parquet").unlink()
    broken = pl.when(pl.int_range(pl.len()) < 10).then(9999).otherwise("sched_dep_time")
    flights.with_columns(sched_dep_time=broken).write_parquet(source / "flights.parquet")
    ingest.main(where, ["data.tolerance=0.01"])
    quarantined = pl.read_parquet(where.raw / "quarantine.parquet")
    assert quarantined.height == 10
    assert quarantined["reason"].unique().to_list() == [
        "sched_dep_time must be a whole number from 0 to 2359, and not missing"
    ]
    with pytest.raises(ContractError, match="10 of .* rows"):
        ingest.main(where, ["data.tolerance=0"])


def test_a_mistake_ends_in_one_line_and_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["train", "model.depth=3"])
    with pytest.raises(SystemExit, match="error: model.depth=3: no such key"):
        run(configure.main)


def test_an_interrupt_ends_with_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(where: Paths, overrides: Sequence[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.argv", ["train"])
    with pytest.raises(SystemExit) as caught:
        run(interrupted)
    assert caught.value.code == 130

"""The stages together: what each writes is what the next reads, and a gate stops the chain."""

import json
import shutil
import signal
from pathlib import Path

import polars as pl
import pytest
from ml_ready.artifact import WINDOWS
from ml_ready.errors import GateError
from ml_ready.jobs import configure
from ml_ready.jobs.configure import configuration
from ml_ready.jobs.folders import Paths
from ml_ready.serving.predictor import Predictor
from ml_ready.tables import read

from {{ cookiecutter.package_name }}.entrypoints import console, evaluate, process, train
from {{ cookiecutter.package_name }}.preprocessing.features import features, target
from {{ cookiecutter.package_name }}.project import PROJECT
from {{ cookiecutter.package_name }}.schema import COLUMNS, TARGET

QUICK = ["evaluation.bootstrap_samples=100"]


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """A repository in which every stage has run."""
    root = tmp_path_factory.mktemp("repository")
    for name in ("conf", "data/sample"):
        shutil.copytree(PROJECT.root / name, root / name)
    where = Paths(root)
    configure.main(PROJECT, where, [])
    process.main(where, [])
    train.main(where, [])
    evaluate.main(where, QUICK)
    return where


@pytest.fixture
def own(where: Paths, tmp_path: Path) -> Paths:
    """A copy of it, free to be broken."""
    return Paths(shutil.copytree(where.root, tmp_path / "copy"))


def test_every_record_of_the_source_is_valid_or_set_aside(where: Paths) -> None:
    summary = json.loads((where.raw / "contract.json").read_text(encoding="utf-8"))
    config = configuration(PROJECT, where)
    source = read(where.root / config.source / config.data.table)
    assert summary["valid"] + summary["quarantined"] == source.height
    assert pl.read_parquet(where.raw / "records.parquet").height == summary["valid"]


def test_no_column_known_only_later_reaches_the_features(where: Paths) -> None:
    later = {column.name for column in COLUMNS if not column.known_at_prediction}
    for window in WINDOWS:
        columns = {*read(where.window(window)).columns}
        assert not (later - {TARGET}) & columns
        assert TARGET in columns


def test_metadata_says_where_the_model_came_from(where: Paths) -> None:
    metadata = json.loads((where.models / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["contract_version"] == PROJECT.contract_version
    assert metadata["window"]["rows"] == read(where.window("train")).height
    assert metadata["hyperparameters"] == configuration(PROJECT, where).model.model_dump()
    assert metadata["parity"] <= configuration(PROJECT, where).evaluation.parity_tolerance
    assert PROJECT.task.outputs(metadata["outputs"]) == Predictor(PROJECT, where.models).outputs
    assert len(metadata["data_sha256"]) == 64


def test_a_raw_record_is_scored_as_its_features_are(where: Paths) -> None:
    records = pl.read_parquet(where.raw / "records.parquet")
    table = target(features(records.with_row_index("position").lazy())).collect()
    known = records[table["position"].to_list()]
    predictor = Predictor(PROJECT, where.models)
    assert (predictor.frame(known) == predictor.score(table)).all()


def test_a_model_that_is_not_good_enough_is_stopped_and_the_report_says_so(own: Paths) -> None:
    with pytest.raises(GateError, match=f"gain over {PROJECT.task.constant}"):
        evaluate.main(own, [*QUICK, "evaluation.minimum_gain=1"])
    assert "Gate failed" in (own.reports / "index.html").read_text(encoding="utf-8")


def test_a_stage_runs_alone_as_dvc_starts_it(where: Paths, own: Paths) -> None:
    shutil.rmtree(own.window("train"))
    process.main(own, ["preprocess"])
    assert read(own.window("train")).equals(read(where.window("train")))


def test_a_mistake_in_a_job_ends_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["train", "depth=3"])
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit, match="error: depth=3: no such key"):
            console.train()
    finally:
        signal.signal(signal.SIGTERM, before)

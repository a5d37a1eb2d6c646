"""The stages together: what each writes is what the next reads, and a gate stops the chain."""

import json
import logging
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import narwhals as nw
import polars as pl
import pytest
import synthetic
from ml_ready.artifact import WINDOWS
from ml_ready.checks import Interval
from ml_ready.errors import ConfigError, ContractError, GateError, ParityError
from ml_ready.jobs import (
    configure,
    evaluate,
    ingest,
    packages,
    predict,
    preprocess,
    process,
    serve,
    spark,
    train,
)
from ml_ready.jobs.configure import configuration
from ml_ready.jobs.folders import Paths
from ml_ready.project import Project
from ml_ready.serving.predictor import Predictor
from ml_ready.tables import read, read_named

QUICK = ["evaluation.bootstrap_samples=100"]
STAGES = (configure, ingest, preprocess, train, evaluate)
NAMES = ("parcels.parquet", "staff.parquet")


class Repository(NamedTuple):
    """A project and its folders."""

    project: Project
    where: Paths


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Repository]:
    """Return a repository of a task in which every stage has run, as DVC starts it."""
    repositories: dict[str, Repository] = {}

    def repository(task: str) -> Repository:
        if task not in repositories:
            project = synthetic.make(tmp_path_factory.mktemp(task) / "project", task)
            repositories[task] = Repository(project, Paths(project.root))
            for stage in STAGES:
                arguments = [] if stage is configure else ["--params"]
                stage.main(*repositories[task], arguments)
        return repositories[task]

    return repository


@pytest.fixture(params=synthetic.TASKS)
def each(request: pytest.FixtureRequest, ran: Callable[[str], Repository]) -> Repository:
    """A repository of each task in turn."""
    return ran(request.param)


@pytest.fixture
def own(ran: Callable[[str], Repository], tmp_path: Path) -> Repository:
    """A copy of a repository, free to be broken."""
    project, where = ran("binary")
    root = shutil.copytree(where.root, tmp_path / "copy")
    return Repository(replace(project, root=root), Paths(root))


def test_every_record_of_the_source_is_valid_or_set_aside(each: Repository) -> None:
    project, where = each
    summary = json.loads((where.raw / "contract.json").read_text(encoding="utf-8"))
    config = configuration(project, where)
    source = read(where.root / config.source / config.data.table)
    assert summary["valid"] + summary["quarantined"] == source.height
    assert pl.read_parquet(where.raw / "records.parquet").height == summary["valid"]


def test_no_column_known_only_later_reaches_the_features(each: Repository) -> None:
    project, where = each
    later = {column.name for column in project.columns if not column.known_at_prediction}
    for window in WINDOWS:
        columns = read(where.window(window)).columns
        assert not (later - {project.target}) & set(columns)
        assert project.target in columns


def test_a_feature_of_what_is_known_only_later_is_refused(own: Repository) -> None:
    def leaking(records: Any) -> Any:
        return own.project.features(records.with_columns(leak="hours"))

    line = r"at prediction time \(.*hours.*Drop that"
    with pytest.raises(ContractError, match=line) as caught:
        preprocess.main(replace(own.project, features=leaking), own.where, [])
    assert "\n" not in str(caught.value)


def test_metadata_says_where_the_model_came_from(each: Repository) -> None:
    project, where = each
    metadata = json.loads((where.models / "metadata.json").read_text(encoding="utf-8"))
    config = configuration(project, where)
    assert metadata["contract_version"] == project.contract_version
    assert metadata["window"]["rows"] == read(where.window("train")).height
    assert metadata["hyperparameters"] == config.model.model_dump()
    assert metadata["parity"] <= config.evaluation.parity_tolerance
    outputs = Predictor(project, where.models).outputs
    assert project.task.outputs(metadata["outputs"]) == outputs
    assert len(metadata["data_sha256"]) == 64
    assert metadata["model"].keys() == {"format", "file", "crc32"}
    assert "model_crc32" not in metadata
    assert metadata.keys() > {
        *("format", "written_by", "features", "target", "metrics", "seed", "trained_at"),
        *("git_commit", "git_clean", "lock_sha256", "libraries", "reference"),
    }


def test_a_raw_record_is_scored_as_its_features_are(each: Repository) -> None:
    project, where = each
    records = pl.read_parquet(where.raw / "records.parquet")
    frame = project.features(records.with_row_index("position").lazy())
    table = project.add_target(frame).collect()
    known = records[table["position"].to_list()]
    predictor = Predictor(project, where.models)
    assert (predictor.frame(known) == predictor.score(table)).all()


def test_the_report_holds_everything_in_one_file(each: Repository) -> None:
    project, where = each
    page = (where.reports / "index.html").read_text(encoding="utf-8")
    assert "Gate passed" in page
    confidence = configuration(project, where).evaluation.confidence
    assert f"{100 * confidence:g} % of bootstrap samples" in page
    plots = {path.stem for path in (where.reports / "plots" / "test").iterdir()}
    assert page.count("data:image/svg+xml") == len(plots - {"confusion"})
    assert "http://" not in page
    assert "https://" not in page


def test_metrics_and_plots_are_written_for_dvc(each: Repository) -> None:
    project, where = each
    metrics = json.loads((where.reports / "metrics.json").read_text(encoding="utf-8"))
    least = configuration(project, where).evaluation.minimum_gain
    expected = {"residuals", "residuals_by_prediction", "calibration"}
    if project.task.constant == "class_prior":
        expected = {"roc", "precision_recall", "calibration", "distribution", "confusion"}
    elif len(Predictor(project, where.models).outputs.columns) > 1:
        expected |= {"coverage"}
    for window in ("validation", "test"):
        assert metrics[window]["gain"]["few_feature_linear"]["low"] > least
        plots = where.reports / "plots" / window
        curves = {path.stem: pl.read_csv(path) for path in plots.iterdir()}
        assert curves.keys() == expected
        assert all(table.height > 1 for table in curves.values())
    metadata = json.loads((where.models / "metadata.json").read_text(encoding="utf-8"))
    assert metrics["model"] == metadata["model"]
    assert metrics["gate"] == {
        "good": True,
        "not_worse_than_production": True,
        "not_compared": "",
        "failed": "",
    }


def test_the_run_is_tracked(each: Repository) -> None:
    from mlflow import MlflowClient

    project, where = each
    client = MlflowClient(f"sqlite:///{where.root}/mlflow.db")
    (experiment,) = (kept for kept in client.search_experiments() if kept.name != "Default")
    seed = configuration(project, where).seed
    run = client.search_runs([experiment.experiment_id], f"params.seed = '{seed}'")[-1]
    metadata = json.loads((where.models / "metadata.json").read_text(encoding="utf-8"))
    assert run.data.metrics == pytest.approx(metadata["metrics"])
    assert run.data.tags["data_sha256"]
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {
        "metadata.json",
        "model.onnx",
    }
    assert not (where.root / "mlruns").exists()


@pytest.mark.parametrize("seeds", [["1"], ["1", "2"]])
def test_other_settings_are_tried_and_leave_the_model(
    own: Repository, caplog: pytest.LogCaptureFixture, seeds: list[str]
) -> None:
    before = (own.where.models / "model.onnx").read_bytes()
    with caplog.at_level("INFO"):
        train.main(*own, [f"seed={','.join(seeds)}"])
    tried = [line for line in caplog.messages if ": validation " in line]
    assert [line.split(":")[0] for line in tried] == [f"seed={seed}" for seed in seeds]
    assert (own.where.models / "model.onnx").read_bytes() == before


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
    own: Repository,
    stage: ModuleType,
    overrides: Sequence[str],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        stage.main(*own, [*QUICK, *overrides])


def test_a_model_that_is_not_good_enough_is_stopped_and_the_report_says_so(
    own: Repository,
) -> None:
    with pytest.raises(GateError, match=f"gain over {own.project.task.constant}"):
        evaluate.main(*own, [*QUICK, "evaluation.minimum_gain=1"])
    assert "Gate failed" in (own.where.reports / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("gain", "remark"),
    [
        (
            Interval(0.2, 0.1, 0.3),
            r"^The model gains \+0\.200 .* \[\+0\.100, \+0\.300\] over a linear",
        ),
        (Interval(-0.2, -0.3, -0.1), "^A linear model on all features is better: -0.200"),
        (Interval(0.0, -0.1, 0.1), "is as good, within noise: .* It would be the simpler choice"),
    ],
    ids=["better", "worse", "as good"],
)
def test_the_report_remarks_whether_a_linear_model_would_do(
    own: Repository, gain: Interval, remark: str
) -> None:
    assert re.search(remark, evaluate.remark_on(own.project, gain))


def broken(table: pl.DataFrame) -> pl.DataFrame:
    """Break a rule in the first three rows."""
    beyond = pl.when(pl.int_range(pl.len()) < 3).then(51)
    return table.with_columns(beyond.otherwise("stops").cast(pl.Int32).alias("stops"))


def test_broken_source_rows_are_set_aside_below_the_tolerance_and_stop_above(
    own: Repository,
) -> None:
    where = own.where
    path = shutil.copytree(where.root / "data" / "sample", where.root / "broken")
    path = path / "parcels.parquet"
    broken(read(path)).write_parquet(path)
    ingest.main(*own, ["source=broken", "data.tolerance=0.01"])
    quarantined = pl.read_parquet(where.raw / "quarantine.parquet")
    stops = next(column for column in own.project.columns if column.name == "stops")
    assert quarantined["reason"].to_list() == [stops.named_rule] * 3
    before = (where.raw / "records.parquet").read_bytes()
    (where.raw / "quarantine.parquet").unlink()
    with pytest.raises(ContractError, match=r"3 of .* rows"):
        ingest.main(*own, ["source=broken", "data.tolerance=0"])
    assert (where.raw / "records.parquet").read_bytes() == before
    assert pl.read_parquet(where.raw / "quarantine.parquet").height == 3


def test_tables_in_several_csv_files_are_read_like_one(
    ran: Callable[[str], Repository], own: Repository
) -> None:
    for name in NAMES:
        table = own.where.root / "data" / "sample" / name
        rows = read(table)
        table.unlink()
        table.mkdir()
        for part in range(2):
            rows.gather_every(2, part).write_csv(table / f"{part}.csv")
    for stage in (ingest, preprocess):
        stage.main(*own, [])
    assert_same_windows(own.where, ran("binary").where)


def assert_same_windows(where: Paths, other: Paths) -> None:
    """Compare the rows of each window, in any order."""
    for name in WINDOWS:
        rows = read(where.window(name)).sort(pl.all())
        assert rows.equals(read(other.window(name)).sort(pl.all()))


def test_parts_of_an_earlier_run_do_not_stay(
    ran: Callable[[str], Repository], own: Repository
) -> None:
    folder = own.where.window("train")
    shutil.copyfile(folder / "part-0.parquet", folder / "part-1.parquet")
    preprocess.main(*own, [])
    assert read(folder).equals(read(ran("binary").where.window("train")))


def test_both_stages_in_one_are_the_stages_one_by_one(
    ran: Callable[[str], Repository], own: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(own.where.root / "data" / "raw")
    shutil.rmtree(own.where.root / "data" / "processed")
    composed: list[object] = []

    def counted(*arguments: Any) -> Any:
        composed.append(arguments)
        return configuration(*arguments)

    monkeypatch.setattr(process, "configuration", counted)
    process.main(*own, [])
    assert_same_windows(own.where, ran("binary").where)
    assert len(composed) == 1


def test_an_entrypoint_may_compose_the_steps_of_a_stage(own: Repository, tmp_path: Path) -> None:
    project, where = own
    config = configuration(project, where)
    metrics = train.train(project, where, config, tmp_path)
    predictor = Predictor(project, tmp_path)
    assert predictor.metadata["metrics"] == metrics
    fitted_on, *held_out = (read(where.window(name)) for name in WINDOWS)
    rivals = evaluate.score_baselines(project, fitted_on, held_out, config, predictor.outputs)
    comparison = evaluate.measure(project, predictor, held_out, rivals, config)
    assert comparison.checks == evaluate.evaluate(project, where, config)


@pytest.mark.parametrize("value", ["late", None, float("inf"), 1])
def test_a_target_that_cannot_be_learnt_leaves_the_windows_as_they_were(
    ran: Callable[[str], Repository], own: Repository, value: Any
) -> None:
    def constant(records: Any) -> Any:
        return own.project.add_target(records).with_columns(pl.lit(value).alias("outcome"))

    with pytest.raises(ContractError) as caught:
        preprocess.main(replace(own.project, add_target=constant), own.where, [])
    assert "\n" not in str(caught.value)
    assert_same_windows(own.where, ran("binary").where)


def test_records_come_from_a_function_of_the_project(
    ran: Callable[[str], Repository], own: Repository
) -> None:
    tables = {name: read_named(own.where.root / "data" / "sample", name) for name in NAMES}
    for name in NAMES:
        (own.where.root / "data" / "sample" / name).unlink()
    asked: list[str] = []

    def from_elsewhere(folder: Path, name: str) -> pl.DataFrame:
        assert folder == own.where.root / "data" / "sample"
        asked.append(name)
        return tables[name]

    project = replace(own.project, source=from_elsewhere)
    process.main(project, own.where, [])
    assert sorted(asked) == sorted(NAMES)
    assert_same_windows(own.where, ran("binary").where)
    (own.where.root / "data" / "sample").rmdir()
    configure.main(project, own.where, [])


def test_texts_of_a_source_of_the_project_are_no_csv(own: Repository) -> None:
    def texts(folder: Path, name: str) -> pl.DataFrame:
        return read_named(folder, name).with_columns(pl.col("^stops$").cast(pl.String))

    with pytest.raises(ContractError, match="Column stops has type String, expected Int32"):
        ingest.main(replace(own.project, source=texts), own.where, [])


def by_thirds(frame: Any, boundaries: Any) -> dict[str, Any]:
    """Divide rows by their number."""
    rows = nw.from_native(frame).with_row_index("number", order_by=boundaries.column)
    return {
        name: rows.filter(nw.col("number") % 3 == k).drop("number").to_native()
        for k, name in enumerate(WINDOWS)
    }


def test_a_project_splits_its_records_by_itself(own: Repository) -> None:
    preprocess.main(replace(own.project, split=by_thirds), own.where, [])
    rows = [read(own.where.window(name)).height for name in WINDOWS]
    assert max(rows) - min(rows) <= 1

    def with_a_gap(frame: Any, boundaries: Any) -> dict[str, Any]:
        return {name: part.head(5) for name, part in by_thirds(frame, boundaries).items()}

    preprocess.main(replace(own.project, split=with_a_gap), own.where, [])
    assert [read(own.where.window(name)).height for name in WINDOWS] == [5, 5, 5]


def test_a_split_without_rows_in_each_window_is_refused(own: Repository) -> None:
    def empty(frame: Any, boundaries: Any) -> dict[str, Any]:
        return {name: part.head(0) for name, part in by_thirds(frame, boundaries).items()}

    def two(frame: Any, boundaries: Any) -> dict[str, Any]:
        parts = by_thirds(frame, boundaries)
        return {name: parts[name] for name in ("train", "test")}

    for split in (empty, two):
        with pytest.raises(ContractError, match="The split of project.py returns {'train': "):
            preprocess.main(replace(own.project, split=split), own.where, [])


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"source": lambda folder, name: None}, "project.source is"),
        ({"split": by_thirds}, "project.split is"),
        (
            {"source": lambda folder, name: None, "split": by_thirds},
            "project.source and project.split is",
        ),
    ],
    ids=["source", "split", "both"],
)
def test_spark_refuses_a_source_and_a_split_of_the_project(
    own: Repository, changes: dict[str, Any], names: str
) -> None:
    with pytest.raises(ConfigError, match=f"but {names} a function of this project") as caught:
        spark.main(replace(own.project, **changes), own.where, [])
    assert "\n" not in str(caught.value)


def test_the_identity_of_a_training_changes_with_what_decides_its_result(
    own: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, where = own
    config = configuration(project, where)
    before = train.identity(project, config, {"data": 1})
    assert train.identity(project, config, {"data": 1}) == before
    different = {
        train.identity(project, config, {"data": 2}),
        train.identity(project, configuration(project, where, ["seed=8"]), {"data": 1}),
    }
    with monkeypatch.context() as patch:
        patch.setattr(packages, "library", lambda: "9.9.9 sha256:0")
        different.add(train.identity(project, config, {"data": 1}))
    (project.root / "src" / "parcels" / "model.py").write_text("# changed\n", encoding="utf-8")
    different.add(train.identity(project, config, {"data": 1}))
    assert len(different - {before}) == 4


def test_a_file_of_records_is_predicted(own: Repository, caplog: pytest.LogCaptureFixture) -> None:
    project, where = own
    caplog.set_level(logging.INFO)
    source, output = where.root / "records.csv", where.root / "answers.csv"
    records = pl.read_parquet(where.raw / "records.parquet").head(5).drop("hours")
    broken(records).write_csv(source)
    predict.main(project, where, [str(source), str(output), "--skip-invalid"])
    assert read(output).height == 5
    assert "stops must be a whole number from 0 to 50, and not missing: 3 rows" in caplog.text
    assert f"5 rows written to {output}" in caplog.text


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """What the server is started with, outside of an image."""
    started: list[Any] = []
    monkeypatch.setattr("ml_ready.serving.server.serve", lambda *given: started.extend(given))
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "opt"))
    monkeypatch.delenv("SAGEMAKER_BIND_TO_PORT", raising=False)
    return started


def test_the_server_listens_on_this_machine_alone(own: Repository, served: list[Any]) -> None:
    serve.main(*own, [])
    assert served == [own.project, own.where.models, "127.0.0.1", 8080]


def test_the_server_takes_address_and_model_from_the_command(
    own: Repository, served: list[Any], tmp_path: Path
) -> None:
    serve.main(*own, ["--host", "::1", "--port", "0", "--model", str(tmp_path)])
    assert served == [own.project, tmp_path, "::1", 0]


def test_sagemaker_says_where_the_model_is_and_where_to_listen(
    own: Repository, served: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "opt" / "model").mkdir(parents=True)
    monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", "9000")
    serve.main(*own, [])
    assert served == [own.project, tmp_path / "opt" / "model", "0.0.0.0", 9000]  # noqa: S104


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_that_cannot_be_is_refused(
    own: Repository, served: list[Any], capsys: pytest.CaptureFixture[str], port: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        serve.main(*own, [f"--port={port}"])
    assert caught.value.code == 2
    assert f"{port} is not a port, expected 0 to 65535" in capsys.readouterr().err
    assert served == []

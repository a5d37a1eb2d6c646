"""Jobs: the stages under a folder as SageMaker mounts it, with what they write there."""

import json
import logging
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import synthetic
from ml_ready.artifact import WINDOWS
from ml_ready.errors import ConfigError, ContractError, MismatchError, ModelError
from ml_ready.jobs import cluster, evaluate, job, process, run, spark, train
from ml_ready.jobs.configure import configuration
from ml_ready.jobs.folders import Paths, paths
from ml_ready.project import Project
from ml_ready.serving.predictor import Predictor
from ml_ready.tables import read
from prepared import Prepared, processing_job, resources, training_job, write

STOPS = (SystemExit, RuntimeError, pl.exceptions.PanicException)
QUICK = ["--verdict", "evaluation.bootstrap_samples=100"]


def failure(base: Path, root: Path, work: run.Work, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run what has to fail as a job, and return what SageMaker would show."""
    monkeypatch.setattr("sys.argv", ["job"])
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(STOPS) as caught:
            run.run(work, root)
    finally:
        signal.signal(signal.SIGTERM, before)
    if isinstance(caught.value, SystemExit):
        assert caught.value.code not in (0, None)
    text = (base / "output" / "failure").read_text(encoding="utf-8")
    assert text.count("\n") == 0
    return text


@pytest.fixture
def failed_training(base: Path, one: Prepared, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a training job that has to fail, and return what SageMaker would show."""

    def failed() -> str:
        def work(where: Paths, arguments: Sequence[str]) -> None:
            train.main(one.project, where, arguments)

        return failure(base, one.project.root, work, monkeypatch)

    return failed


def tracked_beside(prepared: Prepared, base: Path) -> None:
    """Let a job track its run where another one has, which saves it from making the database."""
    shutil.copytree(prepared.trained / "output", base / "output")


def fill(where: Paths, windows: dict[str, pl.DataFrame]) -> None:
    """Give an evaluation the windows as its inputs."""
    for name in WINDOWS:
        where.window(name).mkdir(parents=True)
        windows[name].write_parquet(where.window(name) / "part-0.parquet")


def finish(base: Path, project: Project) -> bytes:
    """Train to the end, and return the model."""
    train.main(project, paths(project.root), [])
    return (base / "model" / "model.onnx").read_bytes()


def test_hosts_share_the_rows_and_lose_none(base: Path, one: Prepared) -> None:
    alone = base / "alone"
    process.main(one.project, processing_job(base, one.project), [])
    shutil.copytree(base / "processing" / "data" / "processed", alone)
    shutil.rmtree(base / "processing" / "data")
    sizes = []
    for host in range(3):
        where = processing_job(base, one.project, host, hosts=3)
        process.main(one.project, where, [])
        sizes.append(read(where.window("train") / f"part-{host}.parquet").height)
    assert max(sizes) - min(sizes) < min(sizes)
    assert len(list((base / "processing" / "data" / "raw").rglob("contract.json"))) == 3
    for name in WINDOWS:
        together = read(where.window(name))
        assert together.height == one.windows[name].height
        assert together.sort(pl.all()).equals(read(alone / name).sort(pl.all()))


def test_spark_without_its_packages_says_how_to_install_them(
    base: Path, one: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    processing_job(base, one.project)
    monkeypatch.setattr(cluster, "GROUP", ("not_installed",))

    def work(where: Paths, arguments: Sequence[str]) -> None:
        spark.main(one.project, where, arguments)

    reason = failure(base, one.project.root, work, monkeypatch)
    assert (
        reason == "Spark is not installed. Run `python3 bootstrap.py poetry install --with spark`"
    )


def test_each_host_that_is_left_hears_how_the_first_one_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("java", "started", "worker"):
        monkeypatch.setattr(cluster, name, lambda *_: nullcontext())
    with socket.create_server(("127.0.0.1", 0)) as free:
        monkeypatch.setattr(cluster, "PORT", free.getsockname()[1] - 1)
    heard: list[bytes] = []

    def come() -> None:
        for gone in (True, False):
            while (host := socket.socket()).connect_ex(("127.0.0.1", cluster.PORT + 1)):
                host.close()
            if gone:  # without a word
                host.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                host.close()
        heard.append(host.recv(1000))
        host.close()

    coming = threading.Thread(target=come)
    coming.start()
    names = ["127.0.0.1", "gone", "left"]
    with pytest.raises(RuntimeError, match="so it is"), cluster.lead(names):
        raise RuntimeError("so it is")
    coming.join(30)
    assert heard == [b"the driver on 127.0.0.1 has failed, see its log: so it is"]


def test_an_input_dealt_out_by_sagemaker_is_refused(base: Path, one: Prepared) -> None:
    where = processing_job(base, one.project, hosts=2, kind="ShardedByS3Key")
    with pytest.raises(ConfigError, match=r"input source: .* expected FullyReplicated"):
        process.main(one.project, where, [])
    assert not (base / "processing" / "data").exists()


def test_hyperparameters_are_settings_but_for_those_of_sagemaker(base: Path, one: Prepared) -> None:
    ours = {"sagemaker_program": "train.py", "_tuning_objective_metric": "gain"}
    training_job(base, one.windows, seed="8", **ours)
    assert configuration(one.project, paths(one.project.root)).seed == 8


def test_a_training_job_leaves_model_and_run_where_sagemaker_takes_them(each: Prepared) -> None:
    assert {path.name for path in each.models.iterdir()} == {"model.onnx", "metadata.json"}
    assert (each.trained / "output" / "data" / "mlflow.db").is_file()


def test_a_model_is_the_same_from_one_file_and_from_many(base: Path, each: Prepared) -> None:
    training_job(base, each.windows)
    tracked_beside(each, base)
    channel = base / "input" / "data" / "train"
    (channel / "part-0.parquet").unlink()
    (channel / "2013" / "deeper").mkdir(parents=True)
    rows = each.windows["train"]
    third = rows.height // 3
    rows[:third].write_parquet(channel / "2013" / "a.parquet")
    rows[third:].write_parquet(channel / "2013" / "deeper" / "b.parquet")
    (channel / "_SUCCESS").touch()
    assert finish(base, each.project) == (each.models / "model.onnx").read_bytes()


def test_variables_take_precedence_over_files(
    base: Path,
    one: Prepared,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training_job(base, one.windows, seed="1")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.move(base / "input" / "data" / "train", elsewhere / "train")
    monkeypatch.setenv("SM_HPS", '{"seed": 2}')
    monkeypatch.setenv("SM_CHANNEL_TRAIN", str(elsewhere / "train"))
    monkeypatch.setenv("SM_MODEL_DIR", str(elsewhere / "model"))
    monkeypatch.setenv("SM_OUTPUT_DATA_DIR", str(elsewhere / "output"))
    train.main(one.project, paths(one.project.root), [])
    metadata = json.loads((elsewhere / "model" / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["seed"] == 2
    assert (elsewhere / "output" / "mlflow.db").is_file()


@pytest.mark.parametrize(
    ("hyperparameters", "hosts", "reason"),
    [
        ({"depth": "3"}, 1, "depth=3: no such key; the configuration has data, evaluation"),
        ({"seed": "many"}, 1, "seed=many: input should be a valid integer"),
        ({"model__max_iter": "-1"}, 1, "model.max_iter=-1"),
        ({"seed": "1,2"}, 1, "seed=1,2: a job trains one model"),
        ({}, 2, "this model trains on one host, got 2"),
    ],
)
def test_a_bad_job_fails_in_one_line_before_it_reads_data(
    base: Path,
    one: Prepared,
    failed_training: Callable[[], str],
    hyperparameters: dict[str, str],
    hosts: int,
    reason: str,
) -> None:
    training_job(base, one.windows, **hyperparameters)
    shutil.rmtree(base / "input" / "data")
    write(base / "input" / "config" / "resourceconfig.json", resources(0, hosts))
    assert failed_training().startswith(reason)


@pytest.mark.parametrize("name", ["hyperparameters", "resourceconfig"])
@pytest.mark.parametrize(
    ("text", "reason"), [("{", "not JSON: "), ("[]", "expected a JSON object, got []")]
)
def test_a_file_of_settings_that_is_no_object_is_named(
    base: Path,
    one: Prepared,
    failed_training: Callable[[], str],
    name: str,
    text: str,
    reason: str,
) -> None:
    training_job(base, one.windows)
    path = base / "input" / "config" / f"{name}.json"
    path.write_text(text, encoding="utf-8")
    assert failed_training().startswith(f"{path}: {reason}")


@pytest.mark.parametrize(
    "content",
    [{}, {"hosts": 3}, {"hosts": ["algo-1"]}, {"hosts": ["algo-1"], "current_host": "algo-2"}],
)
def test_a_host_that_cannot_be_is_named(
    base: Path, one: Prepared, failed_training: Callable[[], str], content: Any
) -> None:
    training_job(base, one.windows)
    write(base / "input" / "config" / "resourceconfig.json", content)
    expected = f"expected `hosts`, and `current_host` as one of them, got {content}"
    assert failed_training().endswith(expected)


@pytest.mark.parametrize("channel", WINDOWS[:2])
@pytest.mark.parametrize("removed", ["", "part-0.parquet"])
def test_a_channel_that_is_missing_or_empty_is_named(
    base: Path, one: Prepared, failed_training: Callable[[], str], channel: str, removed: str
) -> None:
    training_job(base, one.windows)
    path = base / "input" / "data" / channel / removed
    path.unlink() if removed else shutil.rmtree(path)
    assert f"Give the job an input `{channel}`" in failed_training()


@pytest.mark.parametrize("channel", WINDOWS[:2])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda frame: frame.clear(), "no row, expected at least one"),
        (lambda frame: frame.drop(synthetic.TARGET), f"columns missing: {synthetic.TARGET}"),
        (
            lambda frame: frame.with_columns(pl.lit(None).alias(synthetic.TARGET)),
            f"rows without {synthetic.TARGET}",
        ),
        (lambda frame: frame.cast(pl.String), "expected numbers, in parquet"),
    ],
    ids=["empty", "no-target", "unknown", "texts"],
)
def test_a_window_that_cannot_be_learned_from_is_named(
    base: Path,
    one: Prepared,
    failed_training: Callable[[], str],
    channel: str,
    change: Callable[[pl.DataFrame], pl.DataFrame],
    reason: str,
) -> None:
    training_job(base, one.windows | {channel: change(one.windows[channel])})
    line = failed_training()
    assert f"input/data/{channel}: " in line
    assert reason in line


def test_files_of_other_columns_are_named(
    base: Path, one: Prepared, failed_training: Callable[[], str]
) -> None:
    training_job(base, one.windows)
    other = base / "input" / "data" / "train" / "part-1.parquet"
    rows = one.windows["train"]
    rows.drop(rows.columns[0]).write_parquet(other)
    assert "part-1.parquet: has the columns" in failed_training()


def test_whatever_stops_a_job_is_told(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(where: Paths, arguments: Sequence[str]) -> None:
        raise RuntimeError("something\nof several lines " + "é" * 2000)

    (base / "config").mkdir()
    reason = failure(base, base, broken, monkeypatch)
    assert reason.startswith("RuntimeError: something of several lines")
    assert len(reason.encode()) <= job.REASON_LIMIT
    assert (base / "output" / "message").read_text(encoding="utf-8") == reason


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        (pl.exceptions.PanicException("unwrap"), "PanicException: unwrap"),
        (KeyboardInterrupt(), "stopped by SIGINT"),
        (SystemExit(2), "exit status 2: see the log"),
    ],
)
def test_what_is_no_exception_is_told_as_well(
    base: Path, monkeypatch: pytest.MonkeyPatch, stop: BaseException, reason: str
) -> None:
    def stopped(where: Paths, arguments: Sequence[str]) -> None:
        raise stop

    (base / "input" / "config").mkdir(parents=True)
    assert failure(base, base, stopped, monkeypatch) == reason
    # Nothing is left of it after a try that ends well.
    before = signal.getsignal(signal.SIGTERM)
    run.run(lambda *_: None, base)
    signal.signal(signal.SIGTERM, before)
    assert not (base / "output" / "failure").exists()


def test_a_mistake_ends_in_one_line_and_code_1(
    one: Prepared, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def work(where: Paths, arguments: Sequence[str]) -> None:
        train.main(one.project, where, arguments)

    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "no job"))
    monkeypatch.setattr("sys.argv", ["train", "depth=3"])
    with pytest.raises(SystemExit, match="error: depth=3: no such key"):
        run.run(work, one.project.root)


def test_an_interrupt_ends_with_code_130(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(where: Paths, arguments: Sequence[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "no job"))
    monkeypatch.setattr("sys.argv", ["train"])
    with pytest.raises(SystemExit) as caught:
        run.run(interrupted, tmp_path)
    assert caught.value.code == 130


def module(folder: Path, name: str, code: str) -> str:
    """Write a module that can be imported from a folder, and return its name."""
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    return name


def test_a_server_hears_sigterm_before_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "no job"))
    monkeypatch.syspath_prepend(tmp_path)
    slow = module(tmp_path, "slow_to_load", "import signal\nsignal.raise_signal(signal.SIGTERM)\n")
    try:
        with pytest.raises(SystemExit) as caught:
            run.console_script(slow, tmp_path, "serve")()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught.value.code == 0


def test_a_console_script_runs_its_module_with_the_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "no job"))
    monkeypatch.setattr("sys.argv", ["train", "seed=3"])
    monkeypatch.syspath_prepend(tmp_path)
    code = "def main(where, arguments):\n    print(where.root, *arguments)\n"
    (tmp_path / "conf").mkdir()
    try:
        run.console_script(module(tmp_path, "prints_arguments", code), tmp_path, "train")()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capsys.readouterr().out == f"{tmp_path} seed=3\n"


def test_a_console_script_without_its_extra_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version_but(name: str) -> str:
        if name == "hydra-core":
            raise PackageNotFoundError(name)
        return version(name)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "no job"))
    monkeypatch.setattr("ml_ready.runner.metadata.version", version_but)
    monkeypatch.syspath_prepend(tmp_path)
    script = module(tmp_path, "needs_more", "import lost_package\n")
    line = r"^error: needs_more needs hydra-core: install ml-ready\[train\], in a project by `pyth"
    try:
        with pytest.raises(SystemExit, match=line):
            run.console_script(script, tmp_path, "train")()
        with pytest.raises(ModuleNotFoundError, match="lost_package"):  # nothing of the extra
            run.console_script(script, tmp_path, "serve")()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_cannot_be_imported_is_told(base: Path, tmp_path: Path) -> None:
    broken = module(tmp_path, "broken", 'raise RuntimeError("the schema is broken")\n')
    (base / "input" / "config").mkdir(parents=True)
    command = (
        "from pathlib import Path; from ml_ready.jobs.run import console_script; "
        f"console_script({broken!r}, Path.cwd(), 'train')()"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", command],
        env={"SAGEMAKER_BASE_DIR": str(base), "PYTHONPATH": path},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    reason = (base / "output" / "failure").read_text(encoding="utf-8")
    assert reason == "RuntimeError: the schema is broken"


def test_the_server_computes_with_one_thread() -> None:
    command = (
        "from ml_ready.jobs import serve; import ml_ready.project, polars; "
        "print(polars.thread_pool_size())"
    )
    environment = {name: text for name, text in os.environ.items() if "POLARS" not in name}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    threads = subprocess.check_output([sys.executable, "-c", command], env=environment, text=True)
    assert threads == "1\n"


TRAINING = """\
import sys
from pathlib import Path
import synthetic
from ml_ready.jobs import run, train

project = synthetic.make(Path(sys.argv[1]), sys.argv[2])
run.run(lambda where, _: train.main(project, where, []), project.root)
"""


def test_a_training_that_was_cut_off_goes_on_and_ends_as_it_would_have(
    base: Path, each: Prepared, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    training_job(base, each.windows)
    tracked_beside(each, base)
    checkpoints = base / "checkpoints"
    checkpoints.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", TRAINING, str(tmp_path / "same"), each.task],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    while b"training on" not in process.stderr.readline():
        assert process.poll() is None
    while not any(checkpoints.glob("*.checkpoint")):
        assert process.poll() is None, "it has ended without a checkpoint"
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM" in (base / "output" / "failure").read_text(encoding="utf-8")
    assert not (base / "model").exists()
    caplog.clear()
    assert finish(base, each.project) == (each.models / "model.onnx").read_bytes()
    assert f"Going on from {checkpoints}" in caplog.text


@pytest.mark.parametrize("beginning", ["", "./"])
def test_a_model_is_taken_as_a_training_job_leaves_it(
    base: Path, one: Prepared, beginning: str
) -> None:
    where = processing_job(base, one.project)
    where.models.mkdir()
    with tarfile.open(where.models / "model.tar.gz", "w:gz") as archive:
        for path in one.models.iterdir():
            archive.add(path, f"{beginning}{path.name}")
    # It is loaded first; the windows are missing.
    with pytest.raises(ContractError, match="Give the job an input `train`"):
        evaluate.main(one.project, where, [])
    for path in one.models.iterdir():
        assert (where.models / path.name).read_bytes() == path.read_bytes()


def test_a_packed_model_that_was_cut_off_is_named(base: Path, one: Prepared) -> None:
    where = processing_job(base, one.project)
    where.models.mkdir()
    (where.models / "model.tar.gz").write_bytes(b"cut off")
    with pytest.raises(ModelError, match=r"model\.tar\.gz: cannot be unpacked"):
        evaluate.main(one.project, where, [])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../outside", tarfile.REGTYPE),
        ("{}", tarfile.REGTYPE),
        ("../outside", tarfile.SYMTYPE),
        ("model.onnx", tarfile.SYMTYPE),
        ("model.onnx", tarfile.LNKTYPE),
    ],
    ids=["above", "absolute", "a link above", "a link", "another name"],
)
def test_a_packed_model_that_holds_more_than_files_for_its_folder_is_refused(
    tmp_path: Path, name: str, kind: bytes
) -> None:
    outside = tmp_path / "outside"
    (tmp_path / "models").mkdir()
    entry = tarfile.TarInfo(name.format(outside))
    entry.type, entry.linkname = kind, "metadata.json"
    with tarfile.open(tmp_path / "models" / "model.tar.gz", "w:gz") as archive:
        archive.addfile(entry)
    line = f"unpacked: {re.escape(entry.name)}: expected a file within the folder"
    with pytest.raises(ModelError, match=line):
        job.unpacked(tmp_path / "models")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["model.tar.gz"]


def test_a_model_that_is_worse_than_the_one_in_production_gets_a_bad_verdict(
    base: Path, each: Prepared
) -> None:
    random = each.windows["train"].with_columns(pl.col(synthetic.TARGET).shuffle(seed=0))
    training_job(base, each.windows | {"train": random})
    tracked_beside(each, base)
    train.main(each.project, paths(each.project.root), [])
    where = processing_job(base, each.project)
    fill(where, each.windows)
    shutil.copytree(base / "model", where.models)
    shutil.copytree(each.models, where.work / "production")
    evaluate.main(each.project, where, QUICK)
    metrics = json.loads((where.reports / "metrics.json").read_text(encoding="utf-8"))
    gate = metrics["gate"]
    assert (gate["good"], gate["not_worse_than_production"]) == (False, False)
    assert "gain over production, upper end on test is -" in gate["failed"]
    assert gate["not_compared"] == ""
    metadata = json.loads((where.models / "metadata.json").read_text(encoding="utf-8"))
    assert metrics["model"] == metadata["model"]
    page = (where.reports / "index.html").read_text(encoding="utf-8")
    assert "Not compared" not in page


@pytest.mark.parametrize("left", [[], ["README.txt"]])
def test_without_a_model_in_production_there_is_nothing_to_compare_with(
    base: Path, one: Prepared, caplog: pytest.LogCaptureFixture, left: list[str]
) -> None:
    where = processing_job(base, one.project)
    for name in left:
        write(where.work / "production" / name, "none yet")
    assert evaluate.production(one.project, where, ["score"]) is None
    assert caplog.text == ""


def test_a_production_model_of_another_contract_is_not_compared(base: Path, each: Prepared) -> None:
    where = processing_job(base, each.project)
    shutil.copytree(each.models, where.work / "production")
    columns = Predictor(each.project, each.models).outputs.columns
    assert evaluate.production(each.project, where, columns) is not None
    with pytest.raises(MismatchError, match=r"production predicts .*, the new one score"):
        evaluate.production(each.project, where, ["score"])
    path = where.work / "production" / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    for other, reason in (
        (metadata | {"contract_version": "another"}, "was trained for contract another"),
        (metadata | {"outputs": {"colour": "red"}}, "for other outputs"),
    ):
        write(path, other)
        with pytest.raises(MismatchError, match=reason):
            evaluate.production(each.project, where, columns)
    for key in ("outputs", "model"):
        write(path, {name: value for name, value in metadata.items() if name != key})
        with pytest.raises(
            ModelError, match=f"it has no '{key}', which every model has. Promote one"
        ) as caught:
            evaluate.production(each.project, where, columns)
        assert not isinstance(caught.value, MismatchError)
    write(path, metadata | {"format": 9})
    with pytest.raises(ModelError, match="its format is 9, written by .* Use a version that rea"):
        evaluate.production(each.project, where, columns)


@pytest.mark.parametrize("name", ["metadata.json", "model.onnx", "model.tar.gz"])
def test_a_production_model_that_is_damaged_fails_the_job(
    base: Path, one: Prepared, name: str
) -> None:
    where = processing_job(base, one.project)
    shutil.copytree(one.models, where.work / "production")
    (where.work / "production" / name).write_bytes(b"cut off")
    columns = Predictor(one.project, one.models).outputs.columns
    with pytest.raises(ModelError, match="The model in production cannot be loaded: ") as caught:
        evaluate.production(one.project, where, columns)
    assert not isinstance(caught.value, MismatchError)
    assert "Train the model" not in str(caught.value)
    assert caught.value.remedy == "Promote one that works: `poe registry promote VERSION`"


def test_why_nothing_is_compared_is_in_the_metrics_and_the_report(
    base: Path, one: Prepared
) -> None:
    where = processing_job(base, one.project)
    fill(where, one.windows)
    for folder in (where.models, where.work / "production"):
        shutil.copytree(one.models, folder)
    path = where.work / "production" / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    write(path, metadata | {"contract_version": "another"})
    evaluate.main(one.project, where, QUICK)
    gate = json.loads((where.reports / "metrics.json").read_text(encoding="utf-8"))["gate"]
    assert gate["not_worse_than_production"]
    assert "the model was trained for contract another" in gate["not_compared"]
    assert "Train the model" not in gate["not_compared"]
    page = (where.reports / "index.html").read_text(encoding="utf-8")
    assert f"Not compared with the model in production: {gate['not_compared']}" in page

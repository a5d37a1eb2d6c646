"""Jobs: the entrypoints under a folder as SageMaker mounts it, with what it writes there."""

import json
import logging
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
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from {{ cookiecutter.package_name }}.config import WINDOWS
from {{ cookiecutter.package_name }}.entrypoints import (
    cluster,
    environment,
    evaluate,
    process,
    sagemaker,
    spark,
    train,
)
from {{ cookiecutter.package_name }}.entrypoints.configure import (
    Configuration,
    configuration,
)
from {{ cookiecutter.package_name }}.entrypoints.environment import Paths, paths
from {{ cookiecutter.package_name }}.errors import (
    ConfigError,
    ContractError,
    MismatchError,
    ModelError,
)
from {{ cookiecutter.package_name }}.inference.predictor import Predictor
from {{ cookiecutter.package_name }}.preprocessing.ingest import read
from {{ cookiecutter.package_name }}.schema import TARGET

STOPS = (SystemExit, RuntimeError, pl.exceptions.PanicException)


def mounted(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """Have a folder in place of `/opt/ml`."""
    for name in ("SM_HPS", "SM_MODEL_DIR", "SM_OUTPUT_DATA_DIR", "SM_CHANNEL_TRAIN"):
        patch.delenv(name, raising=False)
    patch.setenv("SAGEMAKER_BASE_DIR", str(folder))
    return folder


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in place of `/opt/ml`."""
    return mounted(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def trained(training: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a training job has left: to look at and to copy.

    Those that copy its `output` keep the files of their runs here.
    """
    with pytest.MonkeyPatch.context() as patch:
        folder = mounted(tmp_path_factory.mktemp("trained"), patch)
        training(folder)
        (folder / "checkpoints").mkdir()
        train.main(paths(), [])
    return folder


def processing(
    base: Path, config: Configuration, host: int = 0, hosts: int = 1, kind: str = "FullyReplicated"
) -> Paths:
    """What a processing job finds on one of its hosts."""
    write(base / "config" / "resourceconfig.json", resources(host, hosts))
    given = {"InputName": "source", "S3Input": {"S3DataDistributionType": kind}}
    write(base / "config" / "processingjobconfig.json", {"ProcessingInputs": [given]})
    if not (base / "processing").exists():
        shutil.copytree(paths().root / config.source, base / "processing" / "source")
    return paths()


def resources(host: int, hosts: int) -> dict[str, Any]:
    names = [f"algo-{number + 1}" for number in range(hosts)]
    return {"current_host": names[host], "hosts": names, "network_interface_name": "eth0"}


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def failure(base: Path, work: environment.Work, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run what has to fail as a job, and return what SageMaker would show."""
    monkeypatch.setattr("sys.argv", ["job"])
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(STOPS) as caught:
            environment.run(work)
    finally:
        signal.signal(signal.SIGTERM, before)
    if isinstance(caught.value, SystemExit):
        assert caught.value.code not in (0, None)
    text = (base / "output" / "failure").read_text(encoding="utf-8")
    assert text.count("\n") == 0
    return text


def test_hosts_share_the_rows_and_lose_none(
    base: Path, config: Configuration, windows: dict[str, pl.DataFrame]
) -> None:
    alone = base / "alone"
    process.main(processing(base, config), [])
    shutil.copytree(base / "processing" / "data" / "processed", alone)
    shutil.rmtree(base / "processing" / "data")
    sizes = []
    for host in range(3):
        where = processing(base, config, host, hosts=3)
        process.main(where, [])
        sizes.append(read(where.window("train") / f"part-{host}.parquet").height)
    assert max(sizes) - min(sizes) < min(sizes)
    assert len(list((base / "processing" / "data" / "raw").rglob("contract.json"))) == 3
    for name in WINDOWS:
        together = read(where.window(name))
        assert together.height == windows[name].height
        assert together.sort(pl.all()).equals(read(alone / name).sort(pl.all()))


def test_spark_without_its_packages_says_how_to_install_them(
    base: Path, config: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    processing(base, config)
    monkeypatch.setattr(cluster, "GROUP", ("not_installed",))
    said = failure(base, spark.main, monkeypatch)
    assert said == "Spark is missing: python3 bootstrap.py poetry install --with spark"


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
            while (found := socket.socket()).connect_ex(("127.0.0.1", cluster.PORT + 1)):
                found.close()
            if gone:  # without a word
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                found.close()
        heard.append(found.recv(1000))
        found.close()

    coming = threading.Thread(target=come)
    coming.start()
    names = ["127.0.0.1", "gone", "left"]
    with pytest.raises(RuntimeError, match="so it is"), cluster.lead(names):
        raise RuntimeError("so it is")
    coming.join(30)
    assert heard == [b"the driver on 127.0.0.1 has failed, see its log: so it is"]


def test_an_input_dealt_out_by_sagemaker_is_refused(base: Path, config: Configuration) -> None:
    where = processing(base, config, hosts=2, kind="ShardedByS3Key")
    with pytest.raises(ConfigError, match="input source: .* expected FullyReplicated"):
        process.main(where, [])
    assert not (base / "processing" / "data").exists()


def test_hyperparameters_are_settings_but_for_those_of_sagemaker(
    base: Path, training: Callable[..., None]
) -> None:
    training(base, seed="7", sagemaker_program="train.py", _tuning_objective_metric="gain")
    assert configuration(paths()).seed == 7


def test_a_training_job_leaves_model_and_run_where_sagemaker_takes_them(trained: Path) -> None:
    assert {path.name for path in (trained / "model").iterdir()} == {"model.onnx", "metadata.json"}
    assert (trained / "output" / "data" / "mlflow.db").is_file()


def test_a_model_is_the_same_from_one_file_and_from_many(
    base: Path, trained: Path, training: Callable[..., None], windows: dict[str, pl.DataFrame]
) -> None:
    training(base)
    tracked_beside(trained, base)
    channel = base / "input" / "data" / "train"
    (channel / "part-0.parquet").unlink()
    (channel / "2013" / "deeper").mkdir(parents=True)
    third = windows["train"].height // 3
    windows["train"][:third].write_parquet(channel / "2013" / "a.parquet")
    windows["train"][third:].write_parquet(channel / "2013" / "deeper" / "b.parquet")
    (channel / "_SUCCESS").touch()
    assert finish(base) == (trained / "model" / "model.onnx").read_bytes()


def test_variables_count_before_files(
    base: Path,
    training: Callable[..., None],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training(base, seed="1")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.move(base / "input" / "data" / "train", elsewhere / "train")
    monkeypatch.setenv("SM_HPS", '{"seed": 2}')
    monkeypatch.setenv("SM_CHANNEL_TRAIN", str(elsewhere / "train"))
    monkeypatch.setenv("SM_MODEL_DIR", str(elsewhere / "model"))
    monkeypatch.setenv("SM_OUTPUT_DATA_DIR", str(elsewhere / "output"))
    train.main(paths(), [])
    metadata = json.loads((elsewhere / "model" / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["seed"] == 2
    assert (elsewhere / "output" / "mlflow.db").is_file()


@pytest.mark.parametrize(
    ("hyperparameters", "hosts", "said"),
    [
        ({"depth": "3"}, 1, "depth=3: no such key; the configuration has data, evaluation"),
        ({"seed": "many"}, 1, "seed=many: input should be a valid integer"),
        ({"model__learning_rate": "-1"}, 1, "model.learning_rate=-1"),
        ({"seed": "1,2"}, 1, "seed=1,2: a job trains one model"),
        ({}, 2, "this model trains on one host, got 2"),
    ],
)
def test_a_bad_job_fails_in_one_line_before_it_reads_data(
    base: Path,
    training: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    hyperparameters: dict[str, str],
    hosts: int,
    said: str,
) -> None:
    training(base, **hyperparameters)
    shutil.rmtree(base / "input" / "data")
    write(base / "input" / "config" / "resourceconfig.json", resources(0, hosts))
    assert failure(base, train.main, monkeypatch).startswith(said)


@pytest.mark.parametrize("name", ["hyperparameters", "resourceconfig"])
@pytest.mark.parametrize(
    ("text", "said"), [("{", "not JSON: "), ("[]", "expected a JSON object, got []")]
)
def test_a_file_of_settings_that_is_no_object_is_named(
    base: Path,
    training: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    text: str,
    said: str,
) -> None:
    training(base)
    path = base / "input" / "config" / f"{name}.json"
    path.write_text(text, encoding="utf-8")
    assert failure(base, train.main, monkeypatch).startswith(f"{path}: {said}")


@pytest.mark.parametrize(
    "found",
    [{}, {"hosts": 3}, {"hosts": ["algo-1"]}, {"hosts": ["algo-1"], "current_host": "algo-2"}],
)
def test_a_host_that_cannot_be_is_named(
    base: Path, training: Callable[..., None], monkeypatch: pytest.MonkeyPatch, found: Any
) -> None:
    training(base)
    write(base / "input" / "config" / "resourceconfig.json", found)
    said = failure(base, train.main, monkeypatch)
    assert said.endswith(f"expected `hosts`, and `current_host` as one of them, got {found}")


@pytest.mark.parametrize("channel", WINDOWS[:2])
@pytest.mark.parametrize("removed", ["", "part-0.parquet"])
def test_a_channel_that_is_missing_or_empty_is_named(
    base: Path,
    training: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    channel: str,
    removed: str,
) -> None:
    training(base)
    path = base / "input" / "data" / channel / removed
    path.unlink() if removed else shutil.rmtree(path)
    assert f"Give the job an input `{channel}`" in failure(base, train.main, monkeypatch)


@pytest.mark.parametrize("channel", WINDOWS[:2])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda frame: frame.clear(), "no row, expected at least one"),
        (lambda frame: frame.drop(TARGET), f"columns missing: {TARGET}"),
        (lambda frame: frame.with_columns(pl.lit(None).alias(TARGET)), f"rows without {TARGET}"),
        (lambda frame: frame.cast(pl.String), "expected numbers, in parquet"),
    ],
    ids=["empty", "no-target", "unknown", "texts"],
)
def test_a_window_that_cannot_be_learned_from_is_named(
    base: Path,
    training: Callable[..., None],
    windows: dict[str, pl.DataFrame],
    monkeypatch: pytest.MonkeyPatch,
    channel: str,
    change: Callable[[pl.DataFrame], pl.DataFrame],
    said: str,
) -> None:
    training(base, windows | {channel: change(windows[channel])})
    told = failure(base, train.main, monkeypatch)
    assert f"input/data/{channel}: " in told
    assert said in told


def test_files_of_other_columns_are_named(
    base: Path,
    training: Callable[..., None],
    windows: dict[str, pl.DataFrame],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training(base)
    other = base / "input" / "data" / "train" / "part-1.parquet"
    windows["train"].drop(windows["train"].columns[0]).write_parquet(other)
    assert "part-1.parquet: has the columns" in failure(base, train.main, monkeypatch)


def test_whatever_stops_a_job_is_told(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(where: Paths, arguments: Sequence[str]) -> None:
        raise RuntimeError("something\nof several lines " + "é" * 2000)

    (base / "config").mkdir()
    said = failure(base, broken, monkeypatch)
    assert said.startswith("RuntimeError: something of several lines")
    assert len(said.encode()) <= sagemaker.REASON_LIMIT
    assert (base / "output" / "message").read_text(encoding="utf-8") == said


@pytest.mark.parametrize(
    ("stop", "said"),
    [
        (pl.exceptions.PanicException("unwrap"), "PanicException: unwrap"),
        (KeyboardInterrupt(), "stopped by SIGINT"),
        (SystemExit(2), "exit status 2: see the log"),
    ],
)
def test_what_is_no_exception_is_told_as_well(
    base: Path, monkeypatch: pytest.MonkeyPatch, stop: BaseException, said: str
) -> None:
    def stopped(where: Paths, arguments: Sequence[str]) -> None:
        raise stop

    training_job = base / "input" / "config"
    training_job.mkdir(parents=True)
    assert failure(base, stopped, monkeypatch) == said
    # Nothing is left of it after a try that ends well.
    environment.run(lambda *_: None)
    assert not (base / "output" / "failure").exists()


def test_a_server_hears_sigterm_before_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(environment, "_named", lambda _: signal.raise_signal(signal.SIGTERM))
    try:
        with pytest.raises(SystemExit) as caught:
            environment.serve()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught.value.code == 0


def test_what_cannot_be_imported_is_told(base: Path, tmp_path: Path) -> None:
    package = tmp_path / "broken" / environment.__name__.partition(".")[0]
    shutil.copytree(Path(environment.__file__).parents[1], package)
    with (package / "schema.py").open("a", encoding="utf-8") as code:
        code.write('raise RuntimeError("the schema is broken")\n')
    (base / "input" / "config").mkdir(parents=True)
    command = f"from {environment.__name__} import train; train()"
    done = subprocess.run(
        [sys.executable, "-c", command],
        env={"SAGEMAKER_BASE_DIR": str(base), "PYTHONPATH": str(package.parent)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    said = (base / "output" / "failure").read_text(encoding="utf-8")
    assert said == "RuntimeError: the schema is broken"


def test_a_training_that_was_cut_off_goes_on_and_ends_as_it_would_have(
    base: Path,
    trained: Path,
    training: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    training(base)
    tracked_beside(trained, base)
    checkpoints = base / "checkpoints"
    checkpoints.mkdir()
    # Those that are shipped keep some, see tests/module/test_training.py; another may keep none.
    keeps = any((trained / "checkpoints").glob("*.checkpoint"))

    process = subprocess.Popen([sys.executable, "-m", train.__name__], stderr=subprocess.PIPE)
    assert process.stderr is not None
    while b"training on" not in process.stderr.readline():
        assert process.poll() is None
    while keeps and not any(checkpoints.glob("*.checkpoint")):
        assert process.poll() is None, "it has ended without a checkpoint"
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    # The moment at which one without is stopped can be its last.
    if keeps or process.returncode:
        assert process.returncode == 128 + signal.SIGTERM
        assert "stopped by SIGTERM" in (base / "output" / "failure").read_text(encoding="utf-8")
        assert not (base / "model").exists()
    caplog.clear()
    assert finish(base) == (trained / "model" / "model.onnx").read_bytes()
    assert (f"Going on from {checkpoints}" in caplog.text) == keeps


def tracked_beside(trained: Path, base: Path) -> None:
    """Have a job track its run where another one has, which saves it from making the database."""
    shutil.copytree(trained / "output", base / "output")


def fill(where: Paths, windows: dict[str, pl.DataFrame]) -> None:
    """Give an evaluation the windows as its inputs."""
    for name in WINDOWS:
        where.window(name).mkdir(parents=True)
        windows[name].write_parquet(where.window(name) / "part-0.parquet")


def finish(base: Path) -> bytes:
    """Train to the end, and return the model."""
    train.main(paths(), [])
    return (base / "model" / "model.onnx").read_bytes()


@pytest.mark.parametrize("beginning", ["", "./"])
def test_a_model_is_taken_as_a_training_job_leaves_it(
    base: Path, folder: Path, config: Configuration, beginning: str
) -> None:
    where = processing(base, config)
    where.models.mkdir()
    with tarfile.open(where.models / "model.tar.gz", "w:gz") as archive:
        for path in folder.iterdir():
            archive.add(path, f"{beginning}{path.name}")
    # It is loaded first; the windows are missing.
    with pytest.raises(ContractError, match="Give the job an input `train`"):
        evaluate.main(where, [])
    for path in folder.iterdir():
        assert (where.models / path.name).read_bytes() == path.read_bytes()


def test_a_packed_model_that_was_cut_off_is_named(base: Path, config: Configuration) -> None:
    where = processing(base, config)
    where.models.mkdir()
    (where.models / "model.tar.gz").write_bytes(b"cut off")
    with pytest.raises(ModelError, match=r"model\.tar\.gz: cannot be unpacked"):
        evaluate.main(where, [])


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
    said = f"unpacked: {re.escape(entry.name)}: expected a file within the folder"
    with pytest.raises(ModelError, match=said):
        sagemaker.unpacked(tmp_path / "models")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["model.tar.gz"]


def test_a_model_that_is_worse_than_the_one_in_production_gets_a_bad_verdict(
    base: Path,
    trained: Path,
    training: Callable[..., None],
    windows: dict[str, pl.DataFrame],
    config: Configuration,
) -> None:
    random = windows["train"].with_columns(pl.col(TARGET).shuffle(seed=0))
    training(base, windows | {"train": random})
    tracked_beside(trained, base)
    train.main(paths(), [])
    where = processing(base, config)
    fill(where, windows)
    shutil.copytree(base / "model", where.models)
    shutil.copytree(trained / "model", where.work / "production")
    evaluate.main(where, ["--verdict", "evaluation.bootstrap_samples=100"])
    gate = json.loads((where.reports / "metrics.json").read_text(encoding="utf-8"))["gate"]
    assert (gate["good"], gate["not_worse_than_production"]) == (False, False)
    assert "gain over production, upper end on test is -" in gate["failed"]
    assert gate["not_compared"] == ""
    page = (where.reports / "index.html").read_text(encoding="utf-8")
    assert "Not compared" not in page


@pytest.mark.parametrize("left", [[], ["README.txt"]])
def test_without_a_model_in_production_there_is_nothing_to_compare_with(
    base: Path, config: Configuration, caplog: pytest.LogCaptureFixture, left: list[str]
) -> None:
    where = processing(base, config)
    for name in left:
        write(where.work / "production" / name, "none yet")
    assert evaluate.production(where, ["score"]) is None
    assert caplog.text == ""


def test_a_production_model_of_another_contract_is_not_compared(
    base: Path, folder: Path, config: Configuration
) -> None:
    where = processing(base, config)
    shutil.copytree(folder, where.work / "production")
    columns = Predictor(folder).outputs.columns
    assert evaluate.production(where, columns) is not None
    with pytest.raises(MismatchError, match="it answers .*, this one score"):
        evaluate.production(where, ["score"])
    path = where.work / "production" / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    for other, said in (
        (metadata | {"contract_version": "another"}, "was trained for contract another"),
        ({"contract_version": "another"}, "it has no 'outputs'"),
    ):
        write(path, other)
        with pytest.raises(MismatchError, match=said):
            evaluate.production(where, columns)


@pytest.mark.parametrize("name", ["metadata.json", "model.onnx", "model.tar.gz"])
def test_a_production_model_that_is_damaged_fails_the_job(
    base: Path, folder: Path, config: Configuration, name: str
) -> None:
    where = processing(base, config)
    shutil.copytree(folder, where.work / "production")
    (where.work / "production" / name).write_bytes(b"cut off")
    with pytest.raises(ModelError, match="The model in production cannot be loaded: ") as caught:
        evaluate.production(where, Predictor(folder).outputs.columns)
    assert not isinstance(caught.value, MismatchError)
    assert "Train it" not in str(caught.value)


def test_why_nothing_is_compared_is_in_the_metrics_and_the_report(
    base: Path, trained: Path, windows: dict[str, pl.DataFrame], config: Configuration
) -> None:
    where = processing(base, config)
    fill(where, windows)
    for made in (where.models, where.work / "production"):
        shutil.copytree(trained / "model", made)
    path = where.work / "production" / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    write(path, metadata | {"contract_version": "another"})
    evaluate.main(where, ["--verdict", "evaluation.bootstrap_samples=100"])
    gate = json.loads((where.reports / "metrics.json").read_text(encoding="utf-8"))["gate"]
    assert gate["not_worse_than_production"]
    assert "the model was trained for contract another" in gate["not_compared"]
    page = (where.reports / "index.html").read_text(encoding="utf-8")
    assert f"Not compared with the model in production: {gate['not_compared']}" in page

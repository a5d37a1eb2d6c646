"""Jobs in containers of this machine: what is kept, and what a signal ends."""

import os
import shutil
import signal
import sys
import tempfile
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from account import BUCKET, CALLS, NAME, moto
from ml_ready.aws import local
from ml_ready.aws.client import Aws


def test_what_was_made_here_is_kept_until_there_is_more(aws: Aws, tmp_path: Path) -> None:
    moto("s3").put_object(Bucket=BUCKET, Key=f"{NAME}/source/a.csv", Body=b"1")
    local.download(aws, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    for name in ("first", "second"):
        moto("s3").put_object(Bucket=BUCKET, Key=f"{NAME}/trained/{name}", Body=b"1")
        local.download(aws, tmp_path / "out")
        moto("s3").delete_object(Bucket=BUCKET, Key=f"{NAME}/trained/{name}")
        local.download(aws, tmp_path / "out")
        assert [path.name for path in (tmp_path / "out" / "trained").iterdir()] == [name]
    assert [*tmp_path.iterdir()] == [tmp_path / "out"]
    CALLS.clear()  # not those of who deploys


def test_a_signal_while_the_old_is_removed_leaves_the_new_whole(
    aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(parameters: Any, *_: object, **__: object) -> None:
        path = (
            parameters.name if isinstance(parameters, tempfile.TemporaryDirectory) else parameters
        )
        (Path(path) / local.MARK).unlink(missing_ok=True)
        raise KeyboardInterrupt

    out = tmp_path / "out"
    moto("s3").put_object(Bucket=BUCKET, Key=f"{NAME}/trained/first", Body=b"1")
    local.download(aws, out)
    moto("s3").put_object(Bucket=BUCKET, Key=f"{NAME}/trained/second", Body=b"1")
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", interrupted)
        # That of Debian 12 has a copy of it.
        patched.setattr(tempfile.TemporaryDirectory, "cleanup", interrupted)
        with pytest.raises(KeyboardInterrupt):
            local.download(aws, out)
    assert (out / local.MARK).exists()
    assert {path.name for path in (out / "trained").iterdir()} == {"first", "second"}
    CALLS.clear()  # not those of who deploys


def test_what_cleans_up_after_a_run_is_out_of_reach_of_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "docker"
    script.write_text(f"#!{sys.executable}\nimport os\nprint(os.getsid(0))\n", encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert int(local._docker("ps")) != os.getsid(0)


def test_a_run_here_that_was_stopped_replaces_nothing(
    aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(*_: object) -> None:
        moto("s3").put_object(Bucket=BUCKET, Key=f"{NAME}/trained/half", Body=b"1")
        with suppress(KeyboardInterrupt):  # as the SDK does
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setitem(local.STEPS, "process", step)
    for name in ("require_docker", "require_sdk"):
        monkeypatch.setattr(local, name, lambda *_: None)
    monkeypatch.setattr(local, "account", lambda *_: nullcontext(aws))
    monkeypatch.setattr(local, "containers", lambda _: nullcontext(tmp_path))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    parameters = ["process", "--image", "train", "--source", str(tmp_path)]
    with pytest.raises(KeyboardInterrupt):
        local.main([*parameters, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()

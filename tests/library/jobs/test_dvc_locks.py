"""What a killed run leaves of DVC's files is removed, and nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ml_ready.jobs import dvc_locks

LOCK = """\
schema: '2.0'
stages:
  configure:
    cmd: python -m package.entrypoints.configure
    params:
      params.yaml:
        device:
    outs:
    - path: params.yaml
      hash: md5
"""
OURS = {"pid": os.getpid(), "cmd": " ".join(sys.argv)}
NOBODY = {"pid": 2**22 + 1, "cmd": "dvc repro"}
ANOTHER = {"pid": os.getpid(), "cmd": "dvc repro"}
# Elsewhere DVC is asked, which looks at the number alone.
LINUX = Path("/proc/self").exists()


def repaired(text: str, root: Path) -> str:
    """Repair a lock, and return what is left of it."""
    lock = root / "dvc.lock"
    lock.write_text(text, encoding="utf-8")
    dvc_locks.repair_locks(root)
    return lock.read_text(encoding="utf-8") if lock.exists() else ""


def test_a_lock_that_was_cut_off_is_removed_and_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dvc_locks.repair_locks(tmp_path)
    for text in (LOCK, f"<<<<<<< HEAD\n{LOCK}"):
        assert repaired(text, tmp_path) == text
    assert capsys.readouterr().err == ""
    for line in ("", "schema: '2.0'", "stages:", "  configure:", "params.yaml:", "    outs:"):
        for end in ("", "\n"):
            assert repaired(LOCK[: LOCK.index(line) + len(line)] + end, tmp_path) == "", line + end
            assert "made again" in capsys.readouterr().err
    assert repaired(LOCK[:-2], tmp_path) == ""


@pytest.mark.parametrize(
    ("users", "left"),
    [
        ("", False),
        ('{"wri', False),
        (json.dumps({"write": {}, "read": {}}), False),
        (json.dumps({"write": {"models": NOBODY}}), not LINUX),
        (json.dumps({"write": {"models": ANOTHER}}), not LINUX),
        (json.dumps({"write": {"models": NOBODY}, "read": {"data/raw": [NOBODY, OURS]}}), True),
    ],
    ids=["empty", "half", "nobody", "ended", "another process", "a reader"],
)
def test_who_reads_and_writes_is_forgotten_once_nobody_does(
    tmp_path: Path, users: str, left: bool
) -> None:
    busy = tmp_path / ".dvc" / "tmp" / "rwlock"
    busy.parent.mkdir(parents=True)
    busy.write_text(users, encoding="utf-8")
    dvc_locks.repair_locks(tmp_path)
    assert busy.exists() is left


def test_the_module_repairs_the_working_folder(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_text("schema", encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    command = [sys.executable, "-m", dvc_locks.__name__]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, stderr=subprocess.DEVNULL)
    assert not (tmp_path / "dvc.lock").exists()

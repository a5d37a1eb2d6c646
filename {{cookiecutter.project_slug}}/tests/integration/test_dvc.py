"""DVC: every stage once, none twice, and after a change only those it concerns."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest
import yaml

import {{ cookiecutter.package_name }}
from {{ cookiecutter.package_name }}.entrypoints import configure, mend
from {{ cookiecutter.package_name }}.entrypoints.environment import Paths, paths

GENERATED = shutil.ignore_patterns(
    ".git",
    ".venv",
    ".poetry",
    ".*_cache",
    "__pycache__",
    "cache",
    "tmp",
    "raw",
    "processed",
    "models",
    "reports",
    "mlartifacts",
    "mlflow.db",
    "params.yaml",
    "dvc.lock",
    "full",
)


# What they decide is in params.yaml, which DVC compares by value, or changes no result.
LEFT_OUT = (
    "config",
    "entrypoints.configure",
    "entrypoints.environment",
    "entrypoints.sagemaker",
    "errors",
)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A fresh copy of this repository."""
    root = tmp_path / "clone"
    shutil.copytree(paths().root, root, ignore=GENERATED)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    return root


def change(root: Path, name: str, key: str, value: str) -> None:
    path = root / name
    line = re.compile(f"^( *{key}:).*", re.MULTILINE)
    text, found = line.subn(rf"\1 {value}", path.read_text(encoding="utf-8"))
    assert found == 1
    path.write_text(text, encoding="utf-8")


def dvc(root: Path, *arguments: str) -> str:
    """Run DVC on the copy, and return what it printed."""
    scripts = Path(sys.executable).parent
    # The copy is another path, which would count as code that no test runs.
    environment = {name: text for name, text in os.environ.items() if not name.startswith("COV")}
    environment["PATH"] = f"{scripts}{os.pathsep}{environment['PATH']}"
    environment["PYTHONPATH"] = str(root / "src")
    done = subprocess.run(
        ["dvc", *arguments], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def stages_run(root: Path, *options: str) -> list[str]:
    """Run the pipeline and return the stages that ran."""
    lines = dvc(root, "repro", *options).splitlines()
    return [line.split("'")[1] for line in lines if line.startswith("Running stage")]


def concerned(root: Path) -> list[str]:
    """Write `params.yaml` and return the stages that would run after it, without computing."""
    configure.main(Paths(root), [])
    return [stage for stage in stages_run(root, "--dry") if stage != "configure"]


def code(stage: str) -> set[str]:
    """The files that the entrypoint of a stage imports, directly or not."""
    package = {{ cookiecutter.package_name }}.__name__
    graph = grimp.build_graph(package)
    for name in LEFT_OUT:
        graph.remove_module(f"{package}.{name}")
    entrypoint = f"{package}.entrypoints.{stage}"
    return {
        f"src/{name.replace('.', '/')}.py"
        for name in {entrypoint} | graph.find_upstream_modules(entrypoint)
        if len(graph.find_children(name)) == 0
    }


@pytest.mark.parametrize("stage", ["ingest", "preprocess", "train", "evaluate"])
def test_a_stage_depends_on_the_code_that_it_runs(stage: str) -> None:
    stages = yaml.safe_load((paths().root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    listed = {name for name in stages[stage]["deps"] if name.endswith(".py")}
    assert listed == code(stage), f"list in dvc.yaml what the stage {stage} imports"


def test_a_change_runs_the_stages_it_concerns_and_no_others(clone: Path) -> None:
    everything = ["configure", "ingest", "preprocess", "train", "evaluate"]
    assert stages_run(clone) == everything
    assert stages_run(clone) == []
    change(clone, "conf/config.yaml", "uri", "sqlite:///other.db")
    assert concerned(clone) == []
    change(clone, "conf/config.yaml", "confidence", "0.85")
    assert concerned(clone) == ["evaluate"]
    change(clone, "conf/config.yaml", "seed", "7")
    assert concerned(clone) == ["train", "evaluate"]
    schema = next((clone / "src").glob("*/schema.py"))
    schema.write_text(schema.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert concerned(clone) == ["ingest", "preprocess", "train", "evaluate"]


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


def mended(text: str, root: Path) -> str:
    (root / "dvc.lock").write_text(text, encoding="utf-8")
    mend.mend_locks()
    return (root / "dvc.lock").read_text(encoding="utf-8") if (root / "dvc.lock").exists() else ""


def test_a_lock_that_was_cut_off_is_removed_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mend, "paths", lambda: Paths(tmp_path))
    mend.mend_locks()
    for text in (LOCK, f"<<<<<<< HEAD\n{LOCK}"):
        assert mended(text, tmp_path) == text
    assert capsys.readouterr().err == ""
    for line in ("", "schema: '2.0'", "stages:", "  configure:", "params.yaml:", "    outs:"):
        for end in ("", "\n"):
            assert mended(LOCK[: LOCK.index(line) + len(line)] + end, tmp_path) == "", line + end
            assert "made anew" in capsys.readouterr().err
    assert mended(LOCK[:-2], tmp_path) == ""


OURS = {"pid": os.getpid(), "cmd": " ".join(sys.argv)}
NOBODY = {"pid": 2**22 + 1, "cmd": "dvc repro"}
ANOTHER = {"pid": os.getpid(), "cmd": "dvc repro"}
# Elsewhere DVC is asked, which looks at the number alone.
LINUX = Path("/proc/self").exists()


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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, users: str, left: bool
) -> None:
    monkeypatch.setattr(mend, "paths", lambda: Paths(tmp_path))
    busy = tmp_path / ".dvc" / "tmp" / "rwlock"
    busy.parent.mkdir(parents=True)
    busy.write_text(users, encoding="utf-8")
    mend.mend_locks()
    assert busy.exists() is left

"""DVC: every stage once, none twice, and after a change only those it concerns."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ml_ready.jobs import configure
from ml_ready.jobs.folders import Paths

from {{ cookiecutter.package_name }}.project import PROJECT

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


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A fresh copy of this repository."""
    root = tmp_path / "clone"
    shutil.copytree(PROJECT.root, root, ignore=GENERATED)
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
    configure.main(PROJECT, Paths(root), [])
    return [stage for stage in stages_run(root, "--dry") if stage != "configure"]


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

"""Which packages run which stage again."""

import shutil
from importlib.metadata import Distribution, distribution, version
from pathlib import Path
from typing import Any

import ml_ready
import pytest
import synthetic
import yaml
from ml_ready.errors import ConfigError
from ml_ready.jobs import configure, packages
from ml_ready.jobs.folders import Paths

SOURCE = Path(ml_ready.__file__).parent


class Installed(Distribution):
    """A distribution of a version of its own."""

    def read_text(self, filename: str) -> str | None:
        return "Name: ml-ready\nVersion: 4.5.6\n" if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Path:
        raise NotImplementedError(path)


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> dict[str, Distribution]:
    """Distributions that are installed instead of the real ones."""
    instead: dict[str, Distribution] = {}
    monkeypatch.setattr(
        packages, "distribution", lambda name: instead.get(name) or distribution(name)
    )
    return instead


def test_the_library_is_known_by_its_version_and_the_content_of_its_code(
    others: dict[str, Distribution], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    others["ml-ready"] = Installed()
    whole = packages.library()
    assert whole.startswith("4.5.6 sha256:")
    shutil.copytree(SOURCE, tmp_path / "another place", ignore=shutil.ignore_patterns("*.pyc"))
    monkeypatch.setattr(packages, "_FOLDER", tmp_path / "another place")
    assert packages.library() == whole
    (tmp_path / "another place" / "code.pyc").write_text("1", encoding="utf-8")
    (tmp_path / "another place" / "page.md").write_text("1", encoding="utf-8")
    assert packages.library() == whole
    (tmp_path / "another place" / "page.html.jinja").write_text("1", encoding="utf-8")
    assert packages.library() != whole


def changed(root: Path, others: dict[str, Distribution], name: str) -> set[str]:
    """Return the stages whose packages change with a distribution."""
    before = packages.by_stage(root)
    others[name] = Installed()
    after = packages.by_stage(root)
    del others[name]
    return {stage for stage in before if before[stage] != after[stage]}


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("ml-ready", {"ingest", "preprocess", "train", "evaluate"}),
        ("polars", {"ingest", "preprocess", "train", "evaluate"}),
        ("numpy", {"preprocess", "train", "evaluate"}),
        ("scikit-learn", {"train", "evaluate"}),
        ("matplotlib", {"evaluate"}),
        ("ruff", set()),
    ],
)
def test_a_new_version_concerns_the_stages_that_use_it(
    tmp_path: Path, others: dict[str, Distribution], name: str, stages: set[str]
) -> None:
    assert changed(tmp_path, others, name) == stages


def test_a_model_depends_on_the_packages_that_the_project_names(tmp_path: Path) -> None:
    dependencies = '["ml-ready[train] @ file:vendor/a.whl", "jinja2>=3", "no-such-package"]'
    (tmp_path / "pyproject.toml").write_text(f"[project]\ndependencies = {dependencies}\n")
    stages = packages.by_stage(tmp_path)
    assert stages["train"]["jinja2"] == version("jinja2")
    assert stages["train"]["ml-ready"] == packages.library()
    assert "no-such-package" not in stages["train"]
    assert stages["evaluate"] == {**stages["train"], "matplotlib": version("matplotlib")}
    assert "jinja2" not in stages["preprocess"]


def test_a_version_that_is_not_locked_is_refused(
    tmp_path: Path, others: dict[str, Distribution]
) -> None:
    project = synthetic.make(tmp_path / "project")
    locked = [f'name = "{name}"\nversion = "{version(name)}"\n' for name in ("polars", "numpy")]
    (project.root / "poetry.lock").write_text("[[package]]\n".join(locked))
    configure.main(project, Paths(project.root), [])
    before = (project.root / "params.yaml").read_bytes()
    others["numpy"] = Installed()
    line = rf"^numpy 4.5.6 is installed, poetry.lock has {version('numpy')}. Run `python3 boot"
    with pytest.raises(ConfigError, match=line):
        configure.main(project, Paths(project.root), [])
    assert (project.root / "params.yaml").read_bytes() == before


def test_dvc_compares_the_packages_of_each_stage(tmp_path: Path) -> None:
    project = synthetic.make(tmp_path / "project")
    configure.main(project, Paths(project.root), [])
    text = (project.root / "params.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text)["packages"] == packages.by_stage(project.root)
    assert "&" not in text

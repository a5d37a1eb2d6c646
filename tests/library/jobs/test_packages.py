"""Which packages run which stage again."""

import json
from importlib.metadata import Distribution, distribution, version
from pathlib import Path
from typing import Any

import ml_ready
import pytest
import synthetic
import yaml
from ml_ready.jobs import configure, packages
from ml_ready.jobs.folders import Paths

SOURCE = Path(ml_ready.__file__).parent
DIGEST = "1f" * 32


class Installed(Distribution):
    """A distribution whose files and metadata are given."""

    def __init__(self, folder: Path, origin: dict[str, Any] | None) -> None:
        self.folder, self.direct_url = folder, origin

    def read_text(self, filename: str) -> str | None:
        if filename == "direct_url.json":
            return json.dumps(self.direct_url) if self.direct_url is not None else None
        return "Name: ml-ready\nVersion: 4.5.6\n" if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Path:
        return self.folder / str(path)


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> dict[str, Distribution]:
    """Distributions that are installed instead of the real ones."""
    instead: dict[str, Distribution] = {}
    monkeypatch.setattr(
        packages, "distribution", lambda name: instead.get(name) or distribution(name)
    )
    return instead


@pytest.mark.parametrize(
    "archive",
    [{"hashes": {"sha256": DIGEST}}, {"hash": f"sha256={DIGEST}"}],
    ids=["pip and Poetry", "the older form"],
)
def test_a_wheel_is_known_by_its_hash(
    others: dict[str, Distribution], archive: dict[str, Any]
) -> None:
    origin = {"url": "file:///vendor/ml_ready.whl", "archive_info": archive}
    others["ml-ready"] = Installed(SOURCE.parent, origin)
    assert packages.library() == f"4.5.6 sha256:{DIGEST}"


@pytest.mark.parametrize(
    ("folder", "origin"),
    [
        (SOURCE.parent, None),
        (SOURCE.parent, {"url": "file:///checkout", "dir_info": {"editable": True}}),
        (SOURCE.parent, {"url": "file:///a.whl", "archive_info": {"hash": "md5=12"}}),
        (SOURCE, {"url": "file:///a.whl", "archive_info": {"hashes": {"sha256": DIGEST}}}),
    ],
    ids=["from an index", "editable", "another hash", "another copy than the imported one"],
)
def test_what_is_no_known_wheel_is_known_by_its_files(
    others: dict[str, Distribution],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    folder: Path,
    origin: dict[str, Any] | None,
) -> None:
    others["ml-ready"] = Installed(folder, origin)
    before = packages.library()
    assert before.startswith("4.5.6 sha256:")
    assert DIGEST not in before
    assert packages.library() == before
    for name in ("code.py", "page.html.jinja"):
        (tmp_path / name).write_text("1", encoding="utf-8")
    monkeypatch.setattr(packages, "_FOLDER", tmp_path)
    copied = packages.library()
    (tmp_path / "code.pyc").write_text("1", encoding="utf-8")
    assert packages.library() == copied
    (tmp_path / "page.html.jinja").write_text("2", encoding="utf-8")
    assert packages.library() != copied


def changed(root: Path, others: dict[str, Distribution], name: str) -> set[str]:
    """Return the stages whose packages change with a distribution."""
    before = packages.by_stage(root)
    others[name] = Installed(root, None)
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
    assert stages["evaluate"] == stages["train"]
    assert "jinja2" not in stages["preprocess"]


def test_dvc_compares_the_packages_of_each_stage(tmp_path: Path) -> None:
    project = synthetic.make(tmp_path / "project")
    configure.main(project, Paths(project.root), [])
    text = (project.root / "params.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text)["packages"] == packages.by_stage(project.root)
    assert "&" not in text

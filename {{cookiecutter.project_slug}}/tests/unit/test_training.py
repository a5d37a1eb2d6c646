"""One function of training at a time."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from {{ cookiecutter.package_name }}.errors import ParityError
from {{ cookiecutter.package_name }}.preprocessing.features import CATEGORICAL, NUMERIC
from {{ cookiecutter.package_name }}.schema import TARGET
from {{ cookiecutter.package_name }}.training.baselines import class_prior
from {{ cookiecutter.package_name }}.training.evaluate import choose_threshold
from {{ cookiecutter.package_name }}.training.export import require_parity
from {{ cookiecutter.package_name }}.training.metadata import digest, provenance, reference


class Constant:
    """A model that gives every row the same probability."""

    def predict_proba(self, frame: pl.DataFrame) -> np.ndarray:
        """Return two columns."""
        return np.tile([0.75, 0.25], (frame.height, 1))


def test_the_threshold_separates_what_can_be_separated() -> None:
    threshold = choose_threshold(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.9]))
    assert threshold == pytest.approx(0.3)


def test_the_reference_describes_numbers_and_categories() -> None:
    numbers = {name: [0.0, 1.0, 2.0, None] for name in NUMERIC}
    frame = pl.DataFrame(numbers | {name: ["a", "a", "b", "b"] for name in CATEGORICAL})
    described = reference(frame, bins=2)
    assert described[NUMERIC[0]]["missing"] == 0.25
    assert described[NUMERIC[0]]["edges"] == [0, 1, 2]
    assert sum(described[NUMERIC[0]]["shares"]) == pytest.approx(1)
    assert all(described[name] == {"a": 0.5, "b": 0.5} for name in CATEGORICAL)


@pytest.mark.parametrize(
    ("values", "described"),
    [
        ([3.0, 3.0], {"missing": 0.0, "edges": [2.5, 3.5], "shares": [1.0]}),
        ([None, None], {"missing": 1.0}),
    ],
)
def test_the_reference_bears_a_constant_and_an_empty_column(
    values: list[float | None], described: dict[str, Any]
) -> None:
    numbers = {name: pl.Series(values, dtype=pl.Float32) for name in NUMERIC}
    frame = pl.DataFrame(numbers | {name: ["a", "b"] for name in CATEGORICAL})
    assert reference(frame)[NUMERIC[0]] == described


def test_equal_predictions_are_in_parity() -> None:
    frame = pl.DataFrame({"row": [1, 2]})
    assert require_parity(Constant(), np.full(2, 0.25), frame, 1e-5) == 0


@pytest.mark.parametrize("broken", [0.26, float("nan")])
def test_a_model_that_predicts_otherwise_after_export_is_stopped(broken: float) -> None:
    frame = pl.DataFrame({"row": [1, 2]})
    with pytest.raises(ParityError, match="on 1 of 2 rows"):
        require_parity(Constant(), np.array([0.25, broken]), frame, 1e-5)


def test_the_class_prior_is_the_share_of_positives() -> None:
    assert class_prior(pl.DataFrame({TARGET: [0, 1, 1, 0]}), 3).tolist() == [0.5, 0.5, 0.5]


def test_the_digest_follows_the_content(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("1", encoding="utf-8")
    second.write_text("2", encoding="utf-8")
    before = digest([second, first])
    assert digest([first, second]) == before
    second.write_text("3", encoding="utf-8")
    assert digest([first, second]) != before


def test_provenance_names_the_commit_and_whether_it_is_clean(tmp_path: Path) -> None:
    assert provenance(tmp_path, [])["git_commit"] is None
    assert provenance(tmp_path, [])["lock_sha256"] is None
    for name in ("poetry.lock", "dvc.lock"):
        (tmp_path / name).write_text("1", encoding="utf-8")
    for command in ("init -q", "add .", "-c user.name=a -c user.email=a@b commit -qm start"):
        subprocess.run(["git", *command.split()], cwd=tmp_path, check=True)
    found = provenance(tmp_path, [])
    assert len(found["git_commit"]) == 40
    assert found["git_clean"] is True
    (tmp_path / "dvc.lock").write_text("2", encoding="utf-8")
    assert provenance(tmp_path, [])["git_clean"] is True
    (tmp_path / "poetry.lock").write_text("2", encoding="utf-8")
    assert provenance(tmp_path, [])["git_clean"] is False


def test_provenance_bears_a_machine_without_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance(tmp_path, [])["git_commit"] is None

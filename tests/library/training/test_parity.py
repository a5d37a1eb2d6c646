"""Export: who converts a model, and whether the exported one predicts the same."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import synthetic
from ml_ready.errors import ParityError
from ml_ready.training.export import export, require_parity

NAN = float("nan")


def test_a_model_may_bring_its_own_way_to_onnx(tmp_path: Path) -> None:
    project = synthetic.make(tmp_path / "project")
    parts = {
        name: getattr(project.training, name) for name in ("Hyperparameters", "fit", "predict")
    }
    own = SimpleNamespace(**parts, export=lambda fitted: f"{fitted} by its own export".encode())
    assert export(replace(project, model=own), "a model") == b"a model by its own export"


@pytest.mark.parametrize("shape", [(2,), (1, 2), (2, 2)])
def test_equal_scores_are_in_parity(shape: tuple[int, ...]) -> None:
    assert require_parity(np.full(shape, 0.25), np.full(shape, 0.25), 1e-5) == 0


def test_scores_of_another_shape_are_stopped() -> None:
    with pytest.raises(ParityError, match=r"predicts the shape \(3,\), the exported \(3, 1\)"):
        require_parity(np.zeros(3), np.zeros((3, 1)), 1e-5)


@pytest.mark.parametrize("broken", [0.26, NAN])
@pytest.mark.parametrize("outputs", [1, 2])
def test_a_model_that_predicts_otherwise_after_export_is_stopped(
    broken: float, outputs: int
) -> None:
    trained = np.full((2, outputs), 0.25)
    exported = trained.copy()
    exported[1, -1] = broken
    with pytest.raises(ParityError, match="on 1 of 2 rows"):
        require_parity(trained, exported, 1e-5)

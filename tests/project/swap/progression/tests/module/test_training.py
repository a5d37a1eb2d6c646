"""The model on real features."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from ml_ready.testing.checks import CHECKS
from ml_ready.testing.subject import Subject
from PACKAGE.schema import TARGET
from PACKAGE.training.model import predict
from sklearn.metrics import r2_score


@pytest.mark.parametrize("check", CHECKS["training"], ids=lambda check: check.__name__)
def test_training_holds_to_the_contract(check: Callable[[Subject], None], subject: Subject) -> None:
    check(subject)


def test_the_model_is_better_than_chance(model: Any, windows: dict[str, pl.DataFrame]) -> None:
    assert r2_score(windows["test"][TARGET], predict(model, windows["test"])[:, 0]) > 0.2

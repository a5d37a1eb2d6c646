"""Synthetic projects with their windows and a fitted model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import synthetic
from ml_ready.config import Config
from ml_ready.jobs import ingest, preprocess
from ml_ready.jobs.configure import configuration
from ml_ready.jobs.folders import Paths
from ml_ready.project import Project
from ml_ready.serving.predictor import load, score
from ml_ready.training.export import export


@dataclass(frozen=True)
class Fitted:
    """A project whose model is fitted."""

    task: str
    project: Project
    config: Config[Any, Any]
    windows: dict[str, pl.DataFrame]
    model: Any

    @property
    def tolerance(self) -> float:
        """How far the exported model may be from the trained one."""
        return float(self.config.evaluation.parity_tolerance)

    def fit(self, train: pl.DataFrame | None = None, **settings: Any) -> Any:
        """Fit another model, on other rows or with other hyperparameters."""
        rows = self.windows["train"] if train is None else train
        hyperparameters = self.config.model.model_copy(update=settings)
        return self.project.training.fit(
            rows, self.windows["validation"], hyperparameters, self.config.seed
        )

    def predict(self, model: Any, frame: pl.DataFrame) -> np.ndarray:
        """Score rows with a fitted model."""
        return self.project.training.predict(model, frame)

    def score(self, model: Any, frame: pl.DataFrame) -> np.ndarray:
        """Score rows with a model as it is exported."""
        return score(self.project, load(self.project, export(self.project, model)), frame)


def fitted(root: Path, task: str) -> Fitted:
    """Split and fit a synthetic project."""
    project = synthetic.make(root, task)
    config = configuration(project, Paths(root))
    checked = ingest.records(project, root / config.source, config.data)
    windows = preprocess.windows(project, checked.valid, config.data.split)
    model = project.training.fit(windows["train"], windows["validation"], config.model, config.seed)
    return Fitted(task, project, config, windows, model)

"""What checks and fixtures read of a project: its data and a trained model, computed once."""

from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from .. import artifact
from ..config import Config
from ..jobs import ingest, preprocess
from ..jobs.configure import configuration
from ..jobs.folders import Paths
from ..project import Project
from ..serving.predictor import Predictor
from ..training.export import export


class Subject:
    """A project, with the records of its source and a model that is trained on them.

    Parameters
    ----------
    project : Project
    folder : pathlib.Path
        An empty folder, for the exported model.

    Examples
    --------
    With a `project`, and an empty `folder`:

    >>> from ml_ready.testing.subject import Subject
    >>> Subject(project, folder).windows["test"].height > 0
    True
    """

    def __init__(self, project: Project, folder: Path) -> None:
        self.project = project
        self.folder = folder

    @cached_property
    def config(self) -> Config[Any, Any]:
        """The configuration in `conf/`."""
        return configuration(self.project, Paths(self.project.root))

    @cached_property
    def records(self) -> pl.DataFrame:
        """The valid records of the source, joined."""
        source = self.project.root / self.config.source
        return ingest.records(self.project, source, self.config.data).valid

    @cached_property
    def known(self) -> pl.DataFrame:
        """Up to 2,000 of the records, with what is known when a prediction is asked for."""
        names = [column.name for column in self.project.inputs]
        return self.records.select(names).sample(min(2000, self.records.height), seed=0)

    @cached_property
    def windows(self) -> dict[str, pl.DataFrame]:
        """Features and target of the records, by the name of the window."""
        return preprocess.windows(self.project, self.records, self.config.data.split)

    @cached_property
    def model(self) -> Any:
        """The model, fitted with the settings of `conf/`."""
        return self.fit()

    @cached_property
    def exported(self) -> bytes:
        """The model as ONNX."""
        return export(self.project, self.model)

    @cached_property
    def models(self) -> Path:
        """A folder with the exported model and its metadata."""
        task, validation = self.project.task, self.windows["validation"]
        target = validation[self.project.target].to_numpy()
        scores = self.project.training.predict(self.model, validation)
        metadata = {
            "contract_version": self.project.contract_version,
            "outputs": task.describe(task.derive_outputs(self.model, target, scores)),
        }
        artifact.write_model(self.folder, self.exported, metadata)
        return self.folder

    @cached_property
    def predictor(self) -> Predictor:
        """The exported model, as the server loads it."""
        return Predictor(self.project, self.models)

    def fit(self, **options: Any) -> Any:
        """Fit the model on the first windows, with the settings of `conf/`.

        Parameters
        ----------
        **options
            Further arguments of `fit`, such as `checkpoints`.

        Returns
        -------
        object
            As `fit` of the model returns it.
        """
        train, validation = self.windows["train"], self.windows["validation"]
        fit = self.project.training.fit
        return fit(train, validation, self.config.model, self.config.seed, **options)

"""What SageMaker hands to a container that it runs as a job: files in `/opt/ml`, and `SM_*`."""

import json
import os
import shutil
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..artifact import RETRAIN
from ..errors import ConfigError, ModelError

# Hyperparameters that SageMaker adds itself, in script mode and in tuning jobs.
_OF_SAGEMAKER = ("sagemaker_", "_tuning_")
ARCHIVE = "model.tar.gz"  # what SageMaker packs the model of a training job into
REASON_LIMIT = 1024  # bytes that SageMaker keeps of why a job failed


def base() -> Path:
    """Return the folder that SageMaker mounts, `/opt/ml`.

    Returns
    -------
    pathlib.Path
        Another one where `SAGEMAKER_BASE_DIR` names it.
    """
    return Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


@dataclass(frozen=True)
class Job:
    """A training or a processing job.

    Parameters
    ----------
    base : pathlib.Path
        The folder that SageMaker mounts.
    training : bool
        Else it is a processing job.
    """

    base: Path
    training: bool

    @property
    def work(self) -> Path:
        """The folder with `data/`, `models/` and `reports/`, as the repository is elsewhere.

        Of a training job, SageMaker keeps the folder as `output.tar.gz`.
        """
        if not self.training:
            return self.base / "processing"
        return Path(os.environ.get("SM_OUTPUT_DATA_DIR", self.base / "output" / "data"))

    @property
    def model(self) -> Path:
        """What a training job leaves here is kept as `model.tar.gz`."""
        return Path(os.environ.get("SM_MODEL_DIR", self.base / "model"))

    def channel(self, name: str) -> Path:
        """Return the folder of an input of a training job.

        Parameters
        ----------
        name : str
            Such as `train`.

        Returns
        -------
        pathlib.Path
            It may not exist.
        """
        folder = os.environ.get(f"SM_CHANNEL_{name.upper()}")
        return Path(folder or self.base / "input" / "data" / name)

    @property
    def checkpoints(self) -> Path | None:
        """The folder that outlives an interruption, where the job has one."""
        folder = self.base / "checkpoints"
        return folder if self.training and folder.is_dir() else None

    def hyperparameters(self) -> list[str]:
        """Return the hyperparameters as they would be typed: `model.learning_rate=0.1`.

        Returns
        -------
        list of str
            Without those that SageMaker adds; empty in a processing job.

        Raises
        ------
        ConfigError
            When they are not a JSON object. A value that is no text is written as JSON.
        """
        if not self.training:
            return []
        path = self.base / "input" / "config" / "hyperparameters.json"
        values = _variable("SM_HPS") or (_object(path) if path.is_file() else {})
        return [
            f"{name}={value if isinstance(value, str) else json.dumps(value)}"
            for name, value in values.items()
            if not name.startswith(_OF_SAGEMAKER)
        ]

    def host(self) -> tuple[int, int]:
        """Return the position of this host, from 0, and how many there are.

        Returns
        -------
        tuple of (int, int)

        Raises
        ------
        ConfigError
            As `hosts` does.
        """
        names, name = self.hosts()
        return names.index(name), len(names)

    def hosts(self) -> tuple[list[str], str]:
        """Return the names of all hosts, the first one first, and that of this one.

        Returns
        -------
        tuple of (list of str, str)
            In the order of their names; `localhost` alone where SageMaker names none.

        Raises
        ------
        ConfigError
            When `resourceconfig.json` is not as SageMaker writes it.
        """
        folder = self.base / "input" / "config" if self.training else self.base / "config"
        path = folder / "resourceconfig.json"
        if not path.is_file():
            return ["localhost"], "localhost"
        resources = _object(path)
        try:
            names = sorted(resources["hosts"])
            if len({*names}) < len(names) or not isinstance(resources["hosts"], list):
                raise ValueError(names)
            return names, names[names.index(resources["current_host"])]
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{path}: expected `hosts`, and `current_host` as one of them, got {resources}"
            ) from error

    def require_whole_inputs(self) -> None:
        """Raise if SageMaker split the files of an input: each host takes its share of the rows.

        Raises
        ------
        ConfigError
            Naming the input.
        """
        path = self.base / "config" / "processingjobconfig.json"
        for source in (_object(path) if path.is_file() else {}).get("ProcessingInputs") or []:
            kind = (source.get("S3Input") or {}).get("S3DataDistributionType")
            if kind == "ShardedByS3Key":
                raise ConfigError(
                    f"input {source.get('InputName')}: S3DataDistributionType is ShardedByS3Key, "
                    "expected FullyReplicated: each host takes its share of the rows by itself"
                )

    def report_failure(self, reason: str) -> None:
        """Write why the job failed to where SageMaker looks for it, and shows it with the job.

        Parameters
        ----------
        reason : str
            It is written as one line, of 1,024 bytes at most.
        """
        line = " ".join(reason.split()).encode()[:REASON_LIMIT].decode(errors="ignore")
        for path in self._reasons():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(line, encoding="utf-8")

    def forget_failure(self) -> None:
        """Remove the reason of an earlier failure in the same folder."""
        for path in self._reasons():
            path.unlink(missing_ok=True)

    def _reasons(self) -> list[Path]:
        # A processing job shows `message`.
        names = ["failure"] if self.training else ["failure", "message"]
        return [self.base / "output" / name for name in names]


def current() -> Job | None:
    """Return the job that this process runs in, if any.

    Returns
    -------
    Job or None
    """
    folder = base()
    if (folder / "config").is_dir():
        return Job(folder, training=False)
    if (folder / "input" / "config").is_dir() or "SM_MODEL_DIR" in os.environ:
        return Job(folder, training=True)
    return None


def unpacked(folder: Path) -> Path:
    """Unpack the model that a training job has left, where there is one; else change nothing.

    Parameters
    ----------
    folder : pathlib.Path
        May hold `model.tar.gz`.

    Returns
    -------
    pathlib.Path
        The same folder.

    Raises
    ------
    ModelError
        When the archive is damaged, or holds anything but files for the folder.
    """
    archive = folder / ARCHIVE
    if archive.is_file():
        try:
            with tarfile.open(archive) as opened:
                for entry in opened:
                    if not entry.isdir():
                        _extract(opened, entry, folder)
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            raise ModelError(f"{archive}: cannot be unpacked: {error}.", RETRAIN) from error
    return folder


def _extract(opened: tarfile.TarFile, entry: tarfile.TarInfo, folder: Path) -> None:
    # Debian 12 has Python 3.11.2, which lacks `filter="data"`.
    path = (folder / entry.name).resolve()
    content = opened.extractfile(entry) if entry.isfile() else None
    if content is None or not path.is_relative_to(folder.resolve()):
        raise tarfile.TarError(f"{entry.name}: expected a file within the folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        shutil.copyfileobj(content, file)


def _variable(name: str) -> Mapping[str, Any]:
    text = os.environ.get(name)
    return _parsed(text, name) if text else {}


def _object(path: Path) -> Mapping[str, Any]:
    return _parsed(path.read_text(encoding="utf-8"), str(path))


def _parsed(text: str, where: str) -> Mapping[str, Any]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{where}: expected a JSON object, got {text[:80]}")
    return content

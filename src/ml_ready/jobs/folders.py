"""Where files are, in the repository and in a SageMaker job."""

from dataclasses import dataclass
from pathlib import Path

from .job import Job, current


@dataclass(frozen=True)
class Paths:
    """The folders of one run.

    Parameters
    ----------
    root : pathlib.Path
        The repository, or what an image holds of it.
    job : Job, optional
        The job that gives the data and takes the results.

    Examples
    --------
    >>> from pathlib import Path
    >>> from ml_ready.jobs.folders import Paths
    >>> Paths(Path("repository")).window("test").as_posix()
    'repository/data/processed/test'
    """

    root: Path
    job: Job | None = None

    @property
    def conf(self) -> Path:
        """The Hydra configuration."""
        return self.root / "conf"

    @property
    def work(self) -> Path:
        """Where data are read and results are written."""
        return self.job.work if self.job else self.root

    @property
    def host(self) -> tuple[int, int]:
        """Which of the machines that share the work this is, from 0, and how many there are."""
        return self.job.host() if self.job else (0, 1)

    @property
    def raw(self) -> Path:
        """Valid records, and those set aside; each of several machines has a folder of its own."""
        position, hosts = self.host
        folder = self.work / "data" / "raw"
        return folder if hosts == 1 else folder / f"part-{position}"

    @property
    def models(self) -> Path:
        """The exported model and its metadata."""
        return self.job.model if self.job and self.job.training else self.work / "models"

    @property
    def reports(self) -> Path:
        """Metrics, plots and the page that shows them."""
        return self.work / "reports"

    def source(self, name: str) -> Path:
        """Return the folder of the source tables, which the configuration names.

        Parameters
        ----------
        name : str
            Relative to the repository; a job does not need it, as it has one source.

        Returns
        -------
        pathlib.Path
        """
        return self.work / "source" if self.job else self.root / name

    def window(self, name: str) -> Path:
        """Return the folder with features and target of `train`, `validation` or `test`.

        Parameters
        ----------
        name : str

        Returns
        -------
        pathlib.Path
            It may not exist.
        """
        if self.job and self.job.training:
            return self.job.channel(name)
        return self.work / "data" / "processed" / name

    def remedy(self, name: str) -> str:
        """Say what to do where a window is missing.

        Parameters
        ----------
        name : str
            Of the window.

        Returns
        -------
        str
            A sentence for the `remedy` of an error.
        """
        return f"Give the job an input `{name}`." if self.job else "Make it first: `poe pipeline`"


def paths(root: Path) -> Paths:
    """Return the folders of a repository, or of the job that this process runs in.

    Parameters
    ----------
    root : pathlib.Path
        `Project.root`; without a folder `conf` in it, the working folder counts.

    Returns
    -------
    Paths
    """
    return Paths(root if (root / "conf").is_dir() else Path.cwd(), current())

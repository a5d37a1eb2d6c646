"""The typed settings of `conf/deploy/`: where things are on AWS, and how a version gets there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from ..config import Section, load
from ..errors import ConfigError, ProjectError

CONF = Path("conf", "deploy")

Text = Annotated[str, Field(min_length=1)]
Percent = Annotated[int, Field(ge=0, le=100)]
Role = Annotated[str, Field(pattern=r"^(arn:aws[a-z-]*:iam::\d{12}:role/\S+)?$")]
Machine = Annotated[str, Field(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$")]
Minutes = Annotated[int, Field(ge=1, le=24 * 60)]


class Roles(Section):
    """The IAM roles that the jobs, the endpoint and the pipeline act as."""

    job: Role
    endpoint: Role
    pipeline: Role

    def need(self, name: str) -> str:
        """Return the role `job`, `endpoint` or `pipeline`.

        Parameters
        ----------
        name : str

        Returns
        -------
        str
            Its ARN.

        Raises
        ------
        ConfigError
            When it is not given, saying where to give it.
        """
        role: str = getattr(self, name)
        if not role:
            raise ConfigError(
                f"roles.{name} is not set:",
                f"set SAGEMAKER_{name.upper()}_ROLE, or edit conf/deploy/aws.yaml; "
                f"`ml-ready iam {name}` prints the policy that it needs",
            )
        return role


class Jobs(Section):
    """What the jobs of the pipeline run on."""

    type: Machine
    process_hosts: Annotated[int, Field(ge=1, le=100)]
    train_on_spot: bool
    volume_gb: Annotated[int, Field(ge=1, le=16_384)]
    maximum_minutes: Minutes
    cache_days: Annotated[int, Field(ge=0, le=365)]


class Serverless(Section):
    """An endpoint whose machines SageMaker starts for each burst of requests."""

    memory_mb: Literal[1024, 2048, 3072, 4096, 5120, 6144]
    concurrency: Annotated[int, Field(ge=1, le=200)]


class Variant(Section):
    """What a version of the model runs on."""

    type: Machine
    count: Annotated[int, Field(ge=1)]
    serverless: Serverless | None


class Transform(Section):
    """What a batch transform runs on."""

    type: Machine
    count: Annotated[int, Field(ge=1)]


class Scaling(Section):
    """When instances are added, and how many there can be."""

    maximum: Annotated[int, Field(ge=1)]
    requests_per_minute: Annotated[int, Field(ge=1)]


class Shift(Section):
    """How requests shift to a new version."""

    kind: Literal["all_at_once", "canary", "linear"]
    percent: Annotated[int, Field(ge=10, le=50)]
    wait_minutes: Annotated[int, Field(ge=1, le=60)]


class Alarms(Section):
    """When an alarm fires, which rolls back to the old version."""

    latency_ms: Annotated[int, Field(ge=1)]
    errors_per_minute: Annotated[int, Field(ge=1)]
    topic: Annotated[str, Field(pattern=r"^(arn:aws[a-z-]*:sns:\S+)?$")]


class Settings(Section):
    """All of `conf/deploy/aws.yaml`."""

    region: Text
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{2,62}$")]
    roles: Roles
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9](-?[a-zA-Z0-9])*$", max_length=48)]
    jobs: Jobs
    variant: Variant
    transform: Transform
    scaling: Scaling
    capture_percent: Percent
    shift: Shift
    alarms: Alarms
    wait_minutes: Minutes

    @property
    def home(self) -> str:
        """The S3 address of what the project keeps in the bucket."""
        return f"s3://{self.bucket}/{self.name}"

    @field_validator("bucket", mode="before")
    @classmethod
    def _given(cls, value: object) -> object:
        if not value:
            raise ValueError("missing: set SAGEMAKER_BUCKET, or edit conf/deploy/aws.yaml")
        return value


def find_root(start: Path | None = None) -> Path:
    """Find the repository of a project.

    Parameters
    ----------
    start : pathlib.Path, optional
        A folder in it; the working folder by default.

    Returns
    -------
    pathlib.Path
        The nearest folder, at or above `start`, with `conf/deploy/` and `pyproject.toml`.

    Raises
    ------
    ProjectError
        When there is none.
    """
    folder = (start or Path.cwd()).resolve()
    for each in (folder, *folder.parents):
        if (each / CONF).is_dir() and (each / "pyproject.toml").is_file():
            return each
    raise ProjectError(
        f"{folder}: no project: neither this folder nor one above it has conf/deploy/ and "
        "pyproject.toml.",
        "Run the command in a project.",
    )


def settings(root: Path, overrides: Sequence[str] = ()) -> Settings:
    """Load the settings of a project.

    Parameters
    ----------
    root : pathlib.Path
        The repository.
    overrides : sequence of str
        Such as `variant.count=3`.

    Returns
    -------
    Settings

    Raises
    ------
    ConfigError
        For an unknown key, or a value that is not allowed.
    """
    return load(Settings, root / CONF, overrides, "aws")

"""The model registry: versions of the model, and which of them may serve."""

import gzip
import hashlib
import io
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .. import artifact
from ..errors import ModelError, ProjectError
from .client import Aws
from .command_line import Parser, say

_TYPES = ["application/json", "application/jsonlines", "text/csv"]
PRODUCTION = "production/model.tar.gz"
NOTHING_YET = b"This folder holds the model in production, model.tar.gz, once there is one.\n"
_KNOWN_OF_A_VERSION = ("git_commit", "data_sha256", "contract_version")
_STATES = {"approve": "Approved", "reject": "Rejected"}


class Version(NamedTuple):
    """A version in the registry."""

    number: int
    status: str
    arn: str
    created: Any


class Registry:
    """The versions of the model of a project.

    Parameters
    ----------
    aws : Aws
    """

    def __init__(self, aws: Aws) -> None:
        self.aws = aws
        self.name = aws.settings.name

    def versions(self) -> list[Version]:
        """List the versions, newest first; none where there is no registry yet.

        Returns
        -------
        list of Version
        """
        if not self._has_group():
            return []
        packages = self.aws.every(
            "sagemaker",
            "list_model_packages",
            "ModelPackageSummaryList",
            ModelPackageGroupName=self.name,
        )
        versions = [
            Version(
                each["ModelPackageVersion"],
                each["ModelApprovalStatus"],
                each["ModelPackageArn"],
                each["CreationTime"],
            )
            for each in packages
        ]
        return sorted(versions, reverse=True)

    def choose(self, number: int | None, *, approved: bool = True) -> Version:
        """Return a version, or the newest one that is approved.

        Parameters
        ----------
        number : int or None
            None for the newest one.
        approved : bool
            Whether to refuse a version that is not approved.

        Returns
        -------
        Version

        Raises
        ------
        ProjectError
            When there is none, or it is not approved.
        """
        versions = self.versions()
        matches = [each for each in versions if number in (None, each.number)]
        if approved:
            matches = [each for each in matches if each.status == "Approved"]
        if matches:
            return matches[0]
        states = ", ".join(f"{each.number} {each.status}" for each in versions) or "none"
        exists = any(number in (None, each.number) for each in versions)
        which = "an approved version" if number is None else f"version {number}"
        need = ", approved" if approved and number is not None else ""
        remedy = "choose one of these" if versions else "run `poe registry register IMAGE`"
        if exists:
            remedy = "run `poe registry approve VERSION`"
        raise ProjectError(
            f"{self.name} in {self.aws.settings.region}: expected {which}{need}, got {states}:",
            remedy,
        )

    def register(self, image: str, folder: Path, reports: Path) -> str:
        """Register the model in a folder, once; it waits for approval.

        Parameters
        ----------
        image : str
            The image that serves it, by digest: a tag may be another image tomorrow.
        folder : pathlib.Path
            Holds `model.onnx` and `metadata.json`.
        reports : pathlib.Path
            Holds `metrics.json` and `index.html`.

        Returns
        -------
        str
            The ARN of the version; empty in a dry run.

        Raises
        ------
        ProjectError
            When a file is missing or not readable, the report is of another model or the gate has
            stopped this one, or the image is not named by digest.
        """
        require_digest(image)
        metadata = _require_good(folder, reports)
        archive = pack(folder)
        identity = hashlib.sha256(archive + image.encode()).hexdigest()
        prefix = f"{self.name}/models/{identity[:16]}"
        home = f"s3://{self.aws.settings.bucket}/{prefix}"
        url = f"{home}/model.tar.gz"
        for version in self.versions():
            if self._model_url(version) == url:
                say(f"It is version {version.number} already, {version.status}")
                return version.arn
        self.aws.put(f"{prefix}/model.tar.gz", archive)
        for name in (artifact.METRICS_FILE, artifact.REPORT_FILE):
            self.aws.put(f"{prefix}/{name}", (reports / name).read_bytes(), again=True)
        self.ensure_group()
        created = self.aws.change(
            "sagemaker",
            "create_model_package",
            ClientToken=identity[:36],
            CustomerMetadataProperties={key: str(metadata[key]) for key in _KNOWN_OF_A_VERSION},
            **registration(self.name, image, url, f"{home}/{artifact.METRICS_FILE}"),
        )
        arn = str(created.get("ModelPackageArn", ""))
        if arn:
            say(f"Registered as {arn}: poe registry approve {arn.rpartition('/')[2]}")
        return arn

    def ensure_group(self) -> None:
        """Create the group that versions are registered in, unless it exists."""
        if not self._has_group():
            self.aws.change(
                "sagemaker", "create_model_package_group", ModelPackageGroupName=self.name
            )

    def promote(self, number: int, *, again: bool = False) -> None:
        """Make an approved version the one that the pipeline compares new models with.

        Parameters
        ----------
        number : int
            The version; `Endpoint.deploy` does this for the one that gets most requests.
        again : bool
            Even if it is the one already, whose copy may be damaged.

        Raises
        ------
        ProjectError
            When the version does not exist, or is not approved.
        """
        source = self._model_url(self.choose(number))
        target = {"Bucket": self.aws.settings.bucket, "Key": f"{self.name}/{PRODUCTION}"}
        head = self.aws.find("s3", "head_object", **target)
        if head and head["Metadata"].get("source") == source and not again:
            return
        self.aws.change(
            "s3",
            "copy_object",
            **target,
            CopySource=source.removeprefix("s3://"),
            Metadata={"source": source},
            MetadataDirective="REPLACE",
        )
        if not self.aws.dry_run:
            say(f"Version {number} is the one in production, which new models are compared with")

    def model(self, number: int) -> str:
        """Create SageMaker's model of an approved version unless it exists, and return its name.

        Parameters
        ----------
        number : int

        Returns
        -------
        str
            It follows from the version and the role of the endpoint.

        Raises
        ------
        ProjectError
            When the version does not exist or is not approved, or the role is not set.
        """
        version, role = self.choose(number), self.aws.settings.roles.need("endpoint")
        # The moment as a number: its text depends on the time zone of the machine.
        made_of = f"{version.arn} {version.created.timestamp()} {role}"
        identity = hashlib.sha256(made_of.encode()).hexdigest()[:6]
        name = f"{self.name}-v{number}-{identity}"
        if not self.aws.find("sagemaker", "describe_model", ModelName=name):
            self.aws.change(
                "sagemaker",
                "create_model",
                ModelName=name,
                PrimaryContainer={"ModelPackageName": version.arn},
                ExecutionRoleArn=role,
            )
        return name

    def judge(self, number: int, status: str, reason: str) -> None:
        """Approve or reject a version, with a reason that is kept.

        Parameters
        ----------
        number : int
        status : {"Approved", "Rejected"}
        reason : str
            It may be empty.

        Raises
        ------
        ProjectError
            When the version does not exist.
        """
        version = self.choose(number, approved=False)
        if version.status == status and self.note(version) == reason:
            say(f"Version {number} is {status} already")
            return
        self.aws.change(
            "sagemaker",
            "update_model_package",
            ModelPackageArn=version.arn,
            ModelApprovalStatus=status,
            ApprovalDescription=reason,
        )
        if not self.aws.dry_run:
            say(f"Version {number} is {status}")

    def note(self, version: Version) -> str:
        """Return why a version was approved or rejected.

        Parameters
        ----------
        version : Version

        Returns
        -------
        str
            Empty where no reason was given.
        """
        return str(self._describe(version).get("ApprovalDescription", ""))

    def lines(self) -> Iterator[str]:
        """Describe each version in a line, with the folder of its report.

        Yields
        ------
        str
            A single line, which says so, where there is no version.
        """
        versions = self.versions()
        if not versions:
            yield f"no version of {self.name} in {self.aws.settings.region}"
        for each in versions:
            metrics = self._describe(each).get("ModelMetrics", {})
            statistics = metrics.get("ModelQuality", {}).get("Statistics", {})
            folder = statistics.get("S3Uri", "").rpartition("/")[0]
            yield f"{each.number:>4}  {each.status:<22}  {each.created:%Y-%m-%d %H:%M}  {folder}"

    def _has_group(self) -> bool:
        return bool(
            self.aws.find(
                "sagemaker", "describe_model_package_group", ModelPackageGroupName=self.name
            )
        )

    def _describe(self, version: Version) -> Any:
        return self.aws.read("sagemaker", "describe_model_package", ModelPackageName=version.arn)

    def _model_url(self, version: Version) -> str:
        specification = self._describe(version)["InferenceSpecification"]
        return str(specification["Containers"][0]["ModelDataUrl"])


def require_digest(image: str) -> None:
    """Stop where an image is named by a tag, which may be another image tomorrow.

    Parameters
    ----------
    image : str
        Such as `REPOSITORY@sha256:DIGEST`.

    Raises
    ------
    ProjectError
        Naming the image.
    """
    if not re.search("@sha256:[0-9a-f]{64}$", image):
        raise ProjectError(f"{image}: expected an image by digest, …@sha256:…;", "push it first")


def registration(name: str, image: str, model: Any, metrics: Any) -> dict[str, Any]:
    """Describe a version that waits for approval.

    Parameters
    ----------
    name : str
        The group of the versions of this model.
    image : str
        What serves it, by digest.
    model, metrics : str or pipeline variable
        S3 addresses.

    Returns
    -------
    dict
        For `CreateModelPackage`.
    """
    quality = {"ContentType": "application/json", "S3Uri": metrics}
    return {
        "ModelPackageGroupName": name,
        "ModelApprovalStatus": "PendingManualApproval",
        "InferenceSpecification": {
            "Containers": [{"Image": image, "ModelDataUrl": model}],
            "SupportedContentTypes": _TYPES,
            "SupportedResponseMIMETypes": _TYPES,
        },
        "ModelMetrics": {"ModelQuality": {"Statistics": quality}},
    }


def pack(folder: Path) -> bytes:
    """Pack the model as SageMaker wants it; the same files give the same bytes.

    Parameters
    ----------
    folder : pathlib.Path
        Holds `model.onnx` and `metadata.json`.

    Returns
    -------
    bytes
        A `tar.gz` with the files at its top.

    Raises
    ------
    ModelError
        When the metadata cannot be read.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in artifact.model_files(folder):
            entry = tarfile.TarInfo(path.name)
            content = path.read_bytes()
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)


def main(arguments: Sequence[str] | None = None) -> None:
    """List, register, approve, reject or promote versions, as the command line asks."""
    parser = Parser("registry", __doc__)
    parser.command("list", "every version and whether it may serve")
    registering = parser.command("register", "the model in models/, which then waits for approval")
    registering.add_argument("image", help="the image that serves it, by digest: …@sha256:…")
    for name in _STATES:
        judging = parser.command(name, f"a version: it is {_STATES[name].lower()} from then on")
        judging.add_argument("version", type=int)
        judging.add_argument("--note", default="", help="why, kept with the version")
    promoting = parser.command("promote", "a version: new models are compared with it")
    promoting.add_argument("version", type=int)
    options = parser.parse(arguments)
    aws = Aws.of(options)
    registry = Registry(aws)
    if options.command == "promote":
        registry.promote(options.version, again=True)
    elif options.command == "list":
        for line in registry.lines():
            say(line)
    elif options.command == "register":
        registry.register(options.image, aws.root / "models", aws.root / "reports")
    else:
        registry.judge(options.version, _STATES[options.command], options.note)


def _require_good(folder: Path, reports: Path) -> dict[str, Any]:
    """Return the metadata of a model; stop where its report is of another, or the gate failed."""
    metrics_file = reports / artifact.METRICS_FILE
    for path in (folder / artifact.METADATA_FILE, metrics_file, reports / artifact.REPORT_FILE):
        if not path.is_file():
            raise ProjectError(f"{path}: no such file.", "Make it first: `poe pipeline`")
    metrics = artifact.read_metrics(reports)
    metadata = artifact.read_metadata(folder)
    artifact.read_model(folder, metadata)
    if missing := [key for key in _KNOWN_OF_A_VERSION if key not in metadata]:
        raise ModelError(
            f"{folder / artifact.METADATA_FILE}: has no {', '.join(missing)}, which a version in "
            "the registry needs.",
            artifact.RETRAIN,
        )
    if metrics.get("model", {}).get("crc32") != metadata["model"]["crc32"]:
        raise ProjectError(
            f"{metrics_file}: was computed for a different model than {folder}:",
            "run `poe pipeline`",
        )
    gate = metrics.get("gate")
    if not isinstance(gate, dict) or gate.get("good") is not True:
        failed = gate.get("failed") if isinstance(gate, dict) else "no verdict"
        raise ProjectError(
            f"{metrics_file}: the gate stopped this model: {failed}.",
            "Improve the model, and run `poe pipeline`",
        )
    return metadata

"""The jobs of SageMaker in containers of this machine, without an account: moto plays S3."""

import argparse
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import boto3

from ..artifact import WINDOWS
from ..errors import ProjectError
from ..runner import handled, interruptible
from .client import Aws
from .command_line import say
from .images import PLATFORM, Images, build, require_docker
from .pipeline import require_sdk, upload
from .registry import NOTHING_YET
from .settings import Settings, find_root, settings

MARK = ".sagemaker-local"  # a file in each folder that this command makes
_OUT = "sagemaker-local"
NETWORK = "sagemaker-local"
_ROLE = "arn:aws:iam::123456789012:role/sagemaker-local"


def _process(aws: Aws, image: str, folder: Path, source: Path) -> None:
    """Turn source tables into windows, by a processing job."""
    from sagemaker.core.local import LocalSession

    from .definition import job_input, job_output, processor

    home = aws.settings.home
    outputs = [
        job_output(name, f"{home}/windows/{name}", f"data/processed/{name}") for name in WINDOWS
    ]
    session = LocalSession(default_bucket=aws.settings.bucket)
    session.config = {"local": {"local_code": True, "container_root": str(folder)}}
    processor(aws.settings, session, image, ["process"]).run(
        inputs=[job_input("source", f"{home}/source/{upload(aws, source)}", "source")],
        outputs=outputs,
        wait=False,  # it has ended by then
        logs=False,
    )


def _train(aws: Aws, image: str, folder: Path, source: Path) -> None:
    """Make a model of the windows in a folder, by a training job."""
    from sagemaker.train.model_trainer import Mode

    from .definition import trainer

    trainer(
        aws.settings,
        None,
        image,
        {name: str(source / name) for name in WINDOWS[:2]},
        f"{aws.settings.home}/checkpoints",
        training_mode=Mode.LOCAL_CONTAINER,
        local_container_root=str(folder),
    ).train()
    packed = folder / "compressed_artifacts" / "model.tar.gz"
    aws.put(f"{aws.settings.name}/trained/model.tar.gz", packed.read_bytes())


def _pipeline(aws: Aws, image: str, folder: Path, source: Path) -> None:
    """Run the whole pipeline, up to the decision whether the model is good enough.

    Raises
    ------
    ProjectError
        When a step fails, or the model is not good enough: with the reason.
    """
    from . import definition
    from .local_session import LocalSession

    aws.put(f"{aws.settings.name}/production/README.txt", NOTHING_YET)
    session = LocalSession(aws.settings.region, aws.settings.bucket, str(folder))
    described = definition.pipeline(aws.settings, session, Images(image, image), "none")
    described.upsert(aws.settings.roles.need("pipeline"))
    data = upload(aws, source)
    execution = described.start(parameters={"Data": data, "DataVersion": data})
    for step in execution.list_steps()["PipelineExecutionSteps"]:
        say(f"{step['StepName']}: {step['StepStatus']}")
    if execution.status != "Succeeded":
        raise ProjectError(execution.failure_reason)


STEPS = {"process": _process, "train": _train, "pipeline": _pipeline}
_SOURCES = {"process": "data/sample", "train": "data/processed", "pipeline": "data/sample"}


def _local_settings(root: Path) -> Settings:
    """Return the settings with which jobs run on this machine."""
    loaded = settings(
        root,
        [
            "bucket=sagemaker-local",
            *(f"roles.{name}={_ROLE}" for name in ("job", "endpoint", "pipeline")),
            "jobs.process_hosts=1",
            "jobs.train_on_spot=false",
        ],
    )
    return loaded.model_copy(update={"jobs": loaded.jobs.model_copy(update={"type": "local"})})


@contextmanager
def account(root: Path, settings: Settings) -> Iterator[Aws]:
    """Play an account with nothing but a bucket; no call leaves this machine.

    Parameters
    ----------
    root : pathlib.Path
        The repository of the project.
    settings : Settings

    Yields
    ------
    Aws
    """
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ |= dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "local")
    os.environ |= {
        "AWS_DEFAULT_REGION": settings.region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        # This machine reaches itself without a proxy.
        "NO_PROXY": host,
        "no_proxy": host,
    }
    try:
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=settings.bucket)
        yield Aws(root, settings)
    finally:
        server.stop()


@contextmanager
def containers(image: str) -> Iterator[Path]:
    """Make a folder for containers, and remove all they leave: themselves, files, the network.

    Parameters
    ----------
    image : str
        The image of the jobs. At the end, a container of it gives the files of the jobs, which
        belong to root, to this user.

    Yields
    ------
    pathlib.Path
        The empty folder.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        try:
            yield folder
        finally:
            with handled(signal.SIG_IGN):
                for composed in folder.rglob("docker-compose.yaml"):
                    label = f"label=com.docker.compose.project.working_dir={composed.parent}"
                    for each in _docker("ps", "--all", "--quiet", "--filter", label).split():
                        _docker("rm", "--force", each)
                # Files of a job belong to root.
                owner = ["chown", "--recursive", "--reference=/work", "/work"]
                _docker("run", "--rm", "--volume", f"{folder}:/work", image, *owner)
                # It stays while another run is in it.
                _docker("network", "rm", NETWORK)


def download(aws: Aws, folder: Path) -> None:
    """Download the results of a run from the bucket; they replace the folder, if it exists.

    Parameters
    ----------
    aws : Aws
    folder : pathlib.Path
        It stays as it is where the bucket has no results.

    Raises
    ------
    AwsError
        When a file cannot be downloaded; the folder is as it was.
    """
    home, bucket = f"{aws.settings.name}/", aws.settings.bucket
    listed = aws.every("s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix=home)
    keys = [each["Key"] for each in listed]
    kinds = tuple(f"{home}{kind}/" for kind in ("runs", "trained", "windows"))
    results = [key for key in keys if key.startswith(kinds)]
    if not results:
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as half:
        old, new = Path(half, "old"), Path(half, "new")
        for key in results:
            path = new / key.removeprefix(home)
            path.parent.mkdir(parents=True, exist_ok=True)
            aws.read("s3", "download_file", Bucket=bucket, Key=key, Filename=str(path))
        (new / MARK).touch()
        # A signal between the two would leave neither.
        with handled(signal.SIG_IGN):
            if folder.exists():
                folder.replace(old)
            new.replace(folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser("sagemaker-local", description=__doc__)
    parser.add_argument("step", nargs="?", choices=STEPS, default="pipeline", help="(pipeline)")
    parser.add_argument("--source", type=Path, help="(data/sample; for train data/processed)")
    parser.add_argument("--image", help="the image `train`, else it is built")
    parser.add_argument("--out", type=Path, help=f"({_OUT}; replaced at the end)")
    options = parser.parse_args(arguments)
    root = find_root()
    source = options.source or root / _SOURCES[options.step]
    if not source.is_dir():
        raise ProjectError(
            f"{source}: no such folder:", "make it with poe pipeline, or give --source"
        )
    out = options.out or root / _OUT
    if out.exists() and not (out / MARK).exists():
        raise ProjectError(
            f"{out}: already exists, and this command did not make it:", "choose another --out"
        )
    require_docker()
    os.environ |= PLATFORM
    loaded = _local_settings(root)
    require_sdk(root, loaded.region)
    image = options.image or build(root, "train")
    with (
        # The SDK takes a job that a signal has ended as done, or raises an error of its own.
        interruptible() as stopped,
        account(root, loaded) as aws,
        containers(image) as folder,
    ):
        try:
            STEPS[options.step](aws, image, folder, source)
        except (ImportError, RuntimeError, ValueError) as error:
            # Of the SDK, which has shown what the container said.
            raise ProjectError(f"{options.step}: {' '.join(str(error).split())}") from error
        finally:
            if not stopped:
                download(aws, out.resolve())
    say(f"{options.step} is done: see {out}")


def _docker(*arguments: str) -> str:
    # In a session of its own, as Ctrl-C reaches all of this one, and Docker does not ignore it.
    done = subprocess.run(
        ["docker", *arguments],
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    return done.stdout if done.returncode == 0 else ""

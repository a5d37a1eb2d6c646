"""A container engine, and an image to build on where no registry of images is in reach."""

import os
import shutil
import subprocess
from pathlib import Path

import filelock

from tests.project import debian

RUN = "ML_READY_TEST_RUN"
"""The variable that names a run of the tests, for its workers and for the runs that tests start."""

NONE = (
    "no container engine answers: install and start Docker, or let .ci/run do it "
    "(as root, with Debian's docker.io)"
)


class NoEngineError(Exception):
    """Why no container can run here."""


def answers() -> bool:
    """Whether containers can run here."""
    if not shutil.which("docker"):
        return False
    return subprocess.run(["docker", "info"], capture_output=True).returncode == 0


def require() -> None:
    """Stop where there is no engine."""
    if not answers():
        raise NoEngineError(NONE)


def base() -> str:
    """Return the name of the image that this run builds on."""
    return f"ml-ready-base-{os.environ[RUN]}"


def remove_base() -> None:
    """Remove the image that `options` has made, if it has."""
    if answers():
        subprocess.run(["docker", "rmi", base()], capture_output=True)


def labelled(label: str) -> set[str]:
    """Return the images that bear a label."""
    command = ["docker", "images", "--all", "--quiet", "--filter", f"label={label}"]
    return {*subprocess.check_output(command, text=True).split()}


def options(shared: Path) -> str:
    """Return what builds an image of a project on this machine, for the variable IMAGE_OPTIONS.

    Parameters
    ----------
    shared : pathlib.Path
        A folder of all processes that run the tests.
    """
    require()
    try:
        root = debian.root("trixie")
    except debian.NoDebianError:
        return ""  # A machine on which people work reaches the registry of images.
    with filelock.FileLock(shared / "base-image"):
        if not subprocess.check_output(["docker", "images", "--quiet", base()]):
            packed = ["tar", "--directory", str(root), "--create", "--exclude=./tmp/*", "."]
            with subprocess.Popen(packed, stdout=subprocess.PIPE) as tar:
                subprocess.run(["docker", "import", "-", base()], stdin=tar.stdout, check=True)
            if tar.returncode:
                remove_base()  # it holds a part alone
                raise subprocess.CalledProcessError(tar.returncode, packed)
    return f"--network host --build-arg BASE_IMAGE={base()}"

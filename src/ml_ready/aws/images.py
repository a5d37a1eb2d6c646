"""Build the images of `container/Dockerfile`."""

import argparse
import hashlib
import json
import os
import re
import runpy
import shlex
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from ..errors import ProjectError
from .command_line import say
from .settings import find_root

_TARGETS = ("train", "serve", "spark")
_USUAL = _TARGETS[:2]
# What SageMaker runs on, from a machine of any kind.
PLATFORM = {"DOCKER_DEFAULT_PLATFORM": "linux/amd64"}
# Variables that Docker hands to a build, and leaves in no layer.
_PROXIES = [
    name for upper in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY") for name in (upper, upper.lower())
]


class Images(NamedTuple):
    """The images of one commit, by digest: a tag may be another image tomorrow."""

    train: str
    serve: str
    spark: str | None = None


def main(arguments: Sequence[str] | None = None) -> None:
    """Build what the command line asks for."""
    parser = argparse.ArgumentParser(
        "image",
        description=__doc__,
        usage="image [train] [serve] [spark] [options of docker build]",
        epilog="Without a target, train and serve. Options, and those in the variable "
        "IMAGE_OPTIONS, go to `docker build`, such as --build-arg BASE_IMAGE=…",
    )
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    words = parser.parse_args(arguments).arguments
    first = next((n for n, each in enumerate(words) if each.startswith("-")), len(words))
    targets, options = words[:first], words[first:]
    if unknown := [each for each in targets if each not in _TARGETS]:
        parser.error(f"{', '.join(unknown)}: no such target, expected {', '.join(_TARGETS)}")
    root = find_root()
    for target in targets or _USUAL:
        build(root, target, options)


def build(root: Path, target: str, arguments: Sequence[str] = (), *, named: bool = True) -> str:
    """Build one image.

    Parameters
    ----------
    root : pathlib.Path
        The repository of the project.
    target : str
        `train`, `serve` or `spark`.
    arguments : sequence of str
        For `docker build`, after those in the variable IMAGE_OPTIONS.
    named : bool
        Whether it is tagged with the name of the project and the target, which the image before
        then loses.

    Returns
    -------
    str
        Its ID, which stays with it.

    Raises
    ------
    ProjectError
        When Docker is missing, or the build fails.
    """
    require_docker()
    name = f"{project(root)}-{target}"
    lock = hashlib.sha256((root / "poetry.lock").read_bytes()).hexdigest()
    with secrets(root) as secret_options, tempfile.TemporaryDirectory() as folder:
        identity = Path(folder, "identity")
        command = ["docker", "build", "--file", "container/Dockerfile", "--target", target]
        command += ["--tag", name] if named else []
        command += ["--iidfile", str(identity), *secret_options]
        command += [
            "--build-arg",
            f"LOCK_SHA256={lock}",
            "--build-arg",
            f"GIT_COMMIT={commit(root)}",
        ]
        command += [f"--build-arg={name}" for name in _PROXIES if name in os.environ]
        command += [*shlex.split(os.environ.get("IMAGE_OPTIONS", "")), *arguments, "."]
        # With attestations, it would be an index of images, which SageMaker does not take.
        environment = os.environ | {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1", "DOCKER_BUILDKIT": "1"}
        environment |= PLATFORM
        done = subprocess.run(command, cwd=root, env=environment, check=False)
        if done.returncode:
            raise ProjectError(f"{name} is not built:", "see the error above")
        image = identity.read_text(encoding="utf-8").strip()
    say(f"{name} is {image}")
    return image


def require_docker() -> None:
    """Stop where no container can be started.

    Raises
    ------
    ProjectError
        Saying what is missing.
    """
    try:
        done = subprocess.run(["docker", "version"], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ProjectError("there is no `docker` on the PATH:", "install Docker") from error
    if done.returncode:
        reason = " ".join(done.stderr.split())
        raise ProjectError(f"Docker does not answer: {reason}:", "start it")


def project(root: Path) -> str:
    """Return the name of a project.

    Parameters
    ----------
    root : pathlib.Path
        The repository of the project.

    Returns
    -------
    str
        As its `pyproject.toml` says.
    """
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return str(settings["project"]["name"])


def commit(root: Path) -> str:
    """Return the commit that an image is built from.

    Parameters
    ----------
    root : pathlib.Path
        The repository of the project.

    Returns
    -------
    str
        With `-dirty` where the image holds changes that no commit has; empty outside a repository.
    """
    text = (root / ".dockerignore").read_text(encoding="utf-8")
    sources = [".dockerignore", "container", *re.findall("^!(.+)$", text, re.MULTILINE)]
    head = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--", *sources)
    return f"{head}-dirty" if head and changes else head


def revision(image: str) -> str:
    """Return the commit that an image was built from, as its label says.

    Parameters
    ----------
    image : str
        A name, a digest or an ID.

    Returns
    -------
    str
        As `commit` returned it for the build; `none` where the image does not say.

    Raises
    ------
    ProjectError
        When Docker is missing, or the image is not on this machine.
    """
    require_docker()
    command = ["docker", "image", "inspect", image]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProjectError(f"{image} is not on this machine:", f"docker pull {image}")
    labels = json.loads(done.stdout)[0]["Config"].get("Labels") or {}
    return labels.get("org.opencontainers.image.revision") or "none"


@contextmanager
def secrets(root: Path) -> Iterator[list[str]]:
    """Hand the package index and the certificates of this machine to a build, not to its layers.

    Parameters
    ----------
    root : pathlib.Path
        The repository of the project.

    Yields
    ------
    list of str
        Arguments for `docker build`.

    Raises
    ------
    ProjectError
        When the package index cannot be reached.
    """
    bootstrap = runpy.run_path(str(root / "bootstrap.py"))
    try:
        bootstrap["ensure_poetry"](verbose=False)
        environment = bootstrap["environment"]()
    except bootstrap["BootstrapError"] as error:
        raise ProjectError(str(error)) from error
    indexes = {"pypi": environment["POETRY_PYPI_MIRROR_URL"], **bootstrap["named_indexes"]()}
    index, *others = (
        _with_credentials(environment, name, address) for name, address in indexes.items()
    )
    lines = ["[global]", f"index-url = {index}"]
    if others:
        lines.append(f"extra-index-url = {' '.join(others)}")
    arguments = []
    if bundle := environment.get("REQUESTS_CA_BUNDLE"):
        lines.append("cert = /run/secrets/ca")
        arguments += ["--secret", f"id=ca,src={bundle}"]
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder, "pip.conf")
        settings.write_text("\n".join([*lines, ""]), encoding="utf-8")
        yield ["--secret", f"id=pip,src={settings}", *arguments]


def _with_credentials(environment: Mapping[str, str], name: str, address: str) -> str:
    """Return the address of a package index as pip takes it."""
    variable = f"POETRY_HTTP_BASIC_{name.upper().replace('-', '_')}"
    user, password = (
        quote(environment.get(f"{variable}_{each}", ""), safe="")
        for each in ("USERNAME", "PASSWORD")
    )
    url = urlsplit(address)
    return url._replace(netloc=f"{user}:{password}@{url.netloc}").geturl() if user else address


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""

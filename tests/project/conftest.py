"""Two projects with answers of their own, each installed once as its user would, and copies."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import certifi
import filelock
import pytest

from tests.conftest import bake_into
from tests.project import debian, engine, readme

ANSWERS: dict[str, Any] = {
    "project_name": "Harbour Crane's Wear",
    "description": 'Which cable of a "Zoë" crane wears out next: < 5 % left',
    "author_name": 'Zoë "Zo" Ångström',
    "author_email": "zoe@harbour.example",
    "data_science_team": "@harbour/cranes",
    "deployment_team": "@harbour/quay",
    "license": "BSD-3-Clause",
    "task": "classification",
    "framework": "scikit-learn",
    "python_version": "3.12",
    "aws_region": "us-west-2",
}
# The other task and the other framework.
OTHERS = ANSWERS | {"task": "regression", "framework": "xgboost"}
# What leads a command away from the folder that it runs in, tells it that this is a test, or has
# Python compile the libraries again at each start, as PYTHONDONTWRITEBYTECODE does.
OUTSIDE = re.compile(
    "VIRTUAL_ENV|PYTHON.*|(AWS|CI|DVC|GIT|MLFLOW|POETRY|PRE_COMMIT|PYTEST|XDG)(_.*|$)"
)
OF_NOBODY_ELSE = [".env", ".coverage"]  # git ignores them as well
# How the settings of pip that a build is given begin, and a line among its certificates.
INDEX, CERTIFICATE = "[global]\nindex-url = ", "# certificates of these tests"


@dataclass(frozen=True)
class Project:
    """A project folder, and the environment in which its user types commands."""

    root: Path
    environment: Mapping[str, str]
    # What the command line begins with, where commands run in a system of their own.
    within: tuple[str, ...] = ()

    @property
    def package(self) -> Path:
        """The folder of its Python package."""
        return next((self.root / "src").iterdir())

    def does(self, command: str, *, activated: bool = True, **environment: str) -> str:
        """Run a command that has to succeed, and return what it printed."""
        status, output = self._run(command, activated, environment)
        assert status == 0, f"{command}: exit status {status}\n{output}"
        return output

    def refuses(self, command: str, *, activated: bool = True, **environment: str) -> str:
        """Run a command that has to fail by intention, and return what it printed."""
        status, output = self._run(command, activated, environment)
        assert status != 0, f"{command} succeeded\n{output}"
        assert "Traceback" not in output, output
        return output

    def copy(self, folder: Path) -> "Project":
        """Copy it as it was baked, with the git hooks, on the same installed packages."""
        shutil.copytree(self.root / ".git", folder / ".git")
        subprocess.run(["git", "reset", "--quiet", "--hard", "baked"], cwd=folder, check=True)
        return self.at(folder)

    def at(self, folder: Path) -> "Project":
        """Use the installed packages in another copy of the repository."""
        (folder / ".venv").symlink_to((self.root / ".venv").resolve())
        (folder / ".git" / "info" / "exclude").write_text("/.venv\n")
        # The packages hold a link to the source of the first project: the copy's own goes first.
        own = {"PYTHONPATH": str(folder / "src")}
        return Project(folder, {**self.environment, **own}, self.within)

    def _run(
        self, command: str, activated: bool, environment: Mapping[str, str]
    ) -> tuple[int, str]:
        if activated:
            command = f"source .venv/bin/activate && {command}"
        done = subprocess.run(
            [*self.within, "bash", "-c", command],
            cwd=self.root,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1200,
        )
        return done.returncode, done.stdout


def described(url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Hold a server against its OpenAPI description; what is found is kept in the folder."""
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", "--no-color"]
    # A contract says more than a schema can: which texts are dates.
    command += ["--exclude-checks", "positive_data_acceptance"]
    command += ["--url", url, "--max-examples", "200", "--seed", "1", f"{url}/openapi.json"]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def shared(factory: pytest.TempPathFactory) -> Path:
    """Return a folder of all processes that run the tests."""
    own = factory.getbasetemp()
    return own.parent if "popen" in own.name else own


@pytest.fixture(scope="session")
def user(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of somebody who has just sat down: an empty home, nothing activated."""
    folder = tmp_path_factory.mktemp("user")
    kept = {name: text for name, text in os.environ.items() if not OUTSIDE.fullmatch(name)}
    ours = {str(Path(prefix, "bin")) for prefix in (sys.prefix, os.environ.get("VIRTUAL_ENV", "-"))}
    path = [entry for entry in kept["PATH"].split(os.pathsep) if entry not in ours]
    for name in ("home", "tmp"):
        (folder / name).mkdir()
    with contextlib.suppress(engine.NoEngineError):
        kept["IMAGE_OPTIONS"] = engine.options(shared(tmp_path_factory))
    return kept | {
        "PATH": os.pathsep.join(path),
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        # Trainings of two workers whose threads wait for each other take many times as long.
        "OMP_NUM_THREADS": "1",
        # A project's tests have workers of their own in test_readme.py alone: others are busy here.
        "PYTEST_XDIST_AUTO_NUM_WORKERS": "0",
        "MYPY_CACHE_DIR": str(folder / "mypy"),
        "DVC_SITE_CACHE_DIR": str(folder / "tmp" / "dvc"),
        "GIT_AUTHOR_NAME": "Zoë",
        "GIT_AUTHOR_EMAIL": "zoe@harbour.example",
        "GIT_COMMITTER_NAME": "Zoë",
        "GIT_COMMITTER_EMAIL": "zoe@harbour.example",
    }


@pytest.fixture(scope="session")
def turn(tmp_path_factory: pytest.TempPathFactory) -> filelock.BaseFileLock:
    """Whose turn it is to use the ports of the README, among the processes that run the tests."""
    return filelock.FileLock(shared(tmp_path_factory) / "turn")


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> filelock.BaseFileLock:
    """Whose turn it is to give images the names of the project, which copies of it share."""
    return filelock.FileLock(shared(tmp_path_factory) / "images")


def install(
    folder: Path, answers: Mapping[str, Any], user: Mapping[str, str], groups: str = ""
) -> Project:
    """Bake a project and run its `bootstrap.py`, unless another process of this run has done it."""
    folder.mkdir(exist_ok=True)
    done = folder / "done"
    with filelock.FileLock(folder / "lock"):
        if not done.exists():
            project = Project(bake_into(folder / "bake", **answers), user)
            project.does("python3 bootstrap.py", activated=False)
            if groups:
                # At once, so that nothing is installed later where another process runs tests.
                project.does(f"python3 bootstrap.py poetry install --with {groups}")
            project.does("git tag baked")
            done.write_text(str(project.root))
    # mypy forgets what it knows of packages that are in another place.
    own = {"MYPY_CACHE_DIR": f"{user['MYPY_CACHE_DIR']}-{folder.name}"}
    return Project(Path(done.read_text()), {**user, **own})


def train(installed: Project, folder: Path) -> Project:
    """Run the pipeline in a copy, and commit what it leaves."""
    project = installed.copy(folder / installed.root.name)
    project.does("dvc repro")
    project.does("git add . && git commit --quiet --message 'feat: train' && git tag trained")
    return project


@pytest.fixture(scope="session")
def installed(user: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project, with what Spark and SageMaker need; nobody works in its folder."""
    return install(shared(tmp_path_factory) / "installed", ANSWERS, user, "sagemaker,spark")


@pytest.fixture(scope="session")
def other(user: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project of the other task, with what puts load on it; nobody works in its folder."""
    return install(shared(tmp_path_factory) / "other", OTHERS, user, "load")


@pytest.fixture(scope="session")
def _trained(installed: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return train(installed, tmp_path_factory.mktemp("trained"))


@pytest.fixture
def trained(_trained: Project) -> Iterator[Project]:
    """A copy whose pipeline has run and is committed; as new for each test."""
    yield _trained
    _trained.does("git reset --quiet --hard trained && git clean --quiet -d --force")
    _trained.does("dvc checkout --force --quiet")


@pytest.fixture(scope="session")
def _fresh(installed: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return installed.copy(tmp_path_factory.mktemp("fresh") / "harbour-crane-s-wear")


@pytest.fixture
def fresh(_fresh: Project) -> Iterator[Project]:
    """A copy in which nothing but `bootstrap.py` has run; as new for each test."""
    yield _fresh
    _fresh.does("git reset --quiet --hard baked && git clean --quiet -d --force")


def docker(*arguments: str) -> str:
    return subprocess.check_output(["docker", *arguments], text=True).strip()


def base(project: Project) -> str:
    """The image that both are built on."""
    options = project.environment.get("IMAGE_OPTIONS", "")
    recipe = (project.root / "container/Dockerfile").read_text()
    image = re.search(r"BASE_IMAGE=(\S+)", options) or re.search(
        r"^ARG BASE_IMAGE=(\S+)", recipe, re.MULTILINE
    )
    assert image
    return image[1]


def bootstrapped(project: Project, name: str) -> str:
    """What `bootstrap.py` gives pip and Poetry in a variable, as the build gets it."""
    script = (
        'import runpy; bootstrap = runpy.run_path("bootstrap.py"); '
        'bootstrap["ensure_poetry"](verbose=False); '
        f'print("is", bootstrap["environment"]().get("{name}", ""))'
    )
    printed = project.does(f"python3 -c '{script}'", activated=False)
    return printed.splitlines()[-1].removeprefix("is").strip()


@pytest.fixture(scope="module")
def built(
    request: pytest.FixtureRequest,
    images: filelock.BaseFileLock,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Project]:
    """A committed project with a model and both images, which are removed at the end."""
    try:
        engine.require()
    except engine.NoEngineError as reason:
        pytest.skip(str(reason))
    # Packages of the first project are in images of test_readme.py too: Docker keeps them.
    whose = getattr(request.module, "PROJECT", "installed")
    trained = train(request.getfixturevalue(whose), tmp_path_factory.mktemp("built"))
    own = Path(bootstrapped(trained, "REQUESTS_CA_BUNDLE") or certifi.where()).read_text()
    bundle = tmp_path_factory.mktemp("certificates") / "bundle.pem"
    bundle.write_text(f"{own}\n{CERTIFICATE}\n")
    # What is built again takes the name from what was built before, but not the label.
    label = f"{engine.RUN}={uuid.uuid4().hex}"
    options = f"{trained.environment.get('IMAGE_OPTIONS', '')} --label {label}"
    project = replace(trained, environment={**trained.environment, "IMAGE_OPTIONS": options})
    with images:
        try:
            # Where nobody else may read the files of a project, the server is nobody all the same.
            trained.does("chmod -R go-rwx src")
            for name in OF_NOBODY_ELSE:
                next(trained.root.glob("src/*/schema.py")).with_name(name).write_text("secret\n")
            project.does("poe image", REQUESTS_CA_BUNDLE=str(bundle))
            yield project
        finally:
            if identities := engine.labelled(label):
                docker("rmi", "--force", *identities)


@contextlib.contextmanager
def served(project: Project, *options: str) -> Iterator[tuple[str, int]]:
    """Run the server on the project's model; where it is reached, and its process."""
    models = f"{project.root / 'models'}:/opt/ml/model:ro"
    command = ["run", "--detach", "--rm", "--read-only", "--volume", models, *options]
    name = docker(*command, f"{project.root.name}-serve", "serve")
    try:
        container = json.loads(docker("inspect", name))[0]
        (network,) = container["NetworkSettings"]["Networks"].values()
        url = f"http://{network['IPAddress']}:8080"
        end = time.monotonic() + 60
        while not readme.answers(f"{url}/ping"):
            assert time.monotonic() < end, docker("logs", name)
            time.sleep(0.02)
        yield url, container["State"]["Pid"]
    finally:
        docker("rm", "--force", name)


@pytest.fixture(scope="module")
def newest(user: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The default project after `bootstrap.py`, on a Python 3.13 of this machine or of a Debian."""
    project = Project(bake_into(tmp_path_factory.mktemp("newest"), python_version="3.13"), user)
    if subprocess.run(["bash", "-c", "python3.13 -c ''"], env=user, capture_output=True).returncode:
        shared = tmp_path_factory.getbasetemp()
        try:
            within = debian.enter(debian.root("trixie"), shared)
        except debian.NoDebianError as reason:
            pytest.skip(f"no python3.13 on the PATH, and none of a Debian: {reason}")
        project = Project(project.root, debian.environment(user, shared), within)
    project.does("python3.13 bootstrap.py", activated=False)
    return project

"""The images of a project: what they hold, what they do not, and what a change makes again."""

import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.project.conftest import (
    CERTIFICATE,
    INDEX,
    OF_NOBODY_ELSE,
    Project,
    base,
    bootstrapped,
    docker,
)

LIMIT = 350e6  # bytes that the serving image may add to its base


def layers(name: str, base: str) -> Iterator[tuple[str, bytes]]:
    """Yield the settings and history of an image, and each file of the layers over its base."""
    saved = subprocess.check_output(["docker", "save", name])
    under = json.loads(docker("inspect", "--format", "{{json .RootFS.Layers}}", base))
    with tarfile.open(fileobj=io.BytesIO(saved)) as image:
        (described,) = json.loads(image.extractfile("manifest.json").read())  # type: ignore[union-attr]
        config = described["Config"]
        yield config, image.extractfile(config).read()  # type: ignore[union-attr]
        for each in described["Layers"][len(under) :]:
            with tarfile.open(fileobj=image.extractfile(each)) as layer:
                for file in layer.getmembers():
                    if file.isfile():
                        yield file.name, layer.extractfile(file).read()  # type: ignore[union-attr]


def leaks(path: str, content: bytes, *texts: str) -> bool:
    """Whether a file of an image holds one of the texts, or is a secret."""
    return "run/secrets" in path or any(text.encode() in content for text in texts)


@pytest.mark.parametrize("target", ["train", "serve"])
def test_no_layer_holds_the_package_index_or_a_certificate(built: Project, target: str) -> None:
    name, secrets = f"{built.root.name}-{target}", [INDEX, CERTIFICATE]
    index = urlsplit(bootstrapped(built, "POETRY_PYPI_MIRROR_URL")).netloc
    if index != "pypi.org":  # which packages name as well
        secrets.append(index)
    held, leaking = set(), []
    for path, content in layers(name, base(built)):
        held.add(path.rpartition("/")[2])
        leaking += [path] * leaks(path, content, *secrets)
    assert leaking == []
    assert "schema.py" in held
    assert held.isdisjoint(OF_NOBODY_ELSE)
    assert "[global]" not in docker("history", "--no-trunc", name)


@pytest.mark.parametrize("secret", [INDEX, CERTIFICATE])
def test_a_layer_that_holds_it_is_found(built: Project, tmp_path: Path, secret: str) -> None:
    copies = "COPY secret /app/copy\nCOPY secret /etc/pip.conf\n"
    (tmp_path / "Dockerfile").write_text(f"FROM {built.root.name}-serve\nUSER 0\n{copies}")
    (tmp_path / "secret").write_text(f"\n{secret}https://index.example\n")
    docker("build", "--quiet", "--tag", "ml-ready-leak", str(tmp_path))
    try:
        files = layers("ml-ready-leak", base(built))
        leaking = [path for path, content in files if leaks(path, content, INDEX, CERTIFICATE)]
        assert leaking == ["app/copy", "etc/pip.conf"]
    finally:
        docker("rmi", "--force", "ml-ready-leak")


def test_the_serving_image_is_small(built: Project) -> None:
    sizes = [
        int(docker("inspect", "--format", "{{ .Size }}", name))
        for name in (f"{built.root.name}-serve", base(built))
    ]
    assert sizes[0] - sizes[1] <= LIMIT


def test_an_image_says_what_it_was_built_from(built: Project) -> None:
    commit = built.does("git rev-parse HEAD").strip()
    lock = built.does("sha256sum poetry.lock").split()[0]
    for target in ("train", "serve"):
        labels = json.loads(
            docker(
                "inspect", "--format", "{{ json .Config.Labels }}", f"{built.root.name}-{target}"
            )
        )
        assert labels["org.opencontainers.image.revision"] == commit
        assert labels["poetry.lock.sha256"] == lock


def test_the_server_says_that_it_takes_the_port_it_is_given(built: Project) -> None:
    name = "com.amazonaws.sagemaker.capabilities.accept-bind-to-port"
    label = f'{{{{ index .Config.Labels "{name}" }}}}'
    assert docker("inspect", "--format", label, f"{built.root.name}-serve") == "true"


def test_a_missing_or_broken_model_ends_the_server_with_the_reason(
    built: Project, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    command = ["docker", "run", "--rm", "--volume", f"{folder}:/opt/ml/model:ro"]
    for problem in ("metadata.json: not readable", "model.onnx: does not match"):
        done = subprocess.run(
            [*command, f"{built.root.name}-serve", "serve"], capture_output=True, text=True
        )
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: /opt/ml/model/{problem}")
        assert len(done.stderr.splitlines()) == 1
        shutil.copytree(built.root / "models", folder, dirs_exist_ok=True)
        (folder / "model.onnx").write_bytes(b"cut off")


@pytest.mark.parametrize("target", ["train", "serve"])
def test_a_change_of_code_installs_nothing_and_is_no_commit(built: Project, target: str) -> None:
    code = next((built.root / "src").glob("*/schema.py"))
    before = code.read_text()
    try:
        code.write_text(f"{before}\nCHANGED = True\n")
        said = built.does(f"poe image {target}")
        assert "Installing" not in said
        assert re.search(rf"{target}-packages(?:.*\n){{1,3}}.*CACHED", said), said
        label = '{{ index .Config.Labels "org.opencontainers.image.revision" }}'
        name = f"{built.root.name}-{target}"
        assert docker("inspect", "--format", label, name).endswith("-dirty")
        run = ["docker", "run", "--rm", name, "grep", "-r", "CHANGED", "/app/src"]
        assert "schema.py" in subprocess.check_output(run, text=True)
    finally:
        code.write_text(before)
        built.does(f"poe image {target}")


def test_an_image_holds_what_it_needs_and_nothing_else(built: Project) -> None:
    secret = built.root / ".env"
    secret.write_text("TOKEN=x\n")
    try:
        built.does("poe image")
    finally:
        secret.unlink()
    found = {}
    for target in ("train", "serve"):
        image = ["run", "--rm", f"{built.root.name}-{target}"]
        found[target] = docker(*image, "ls", "-A", "/app").split()
        code = docker(*image, "find", "src", "-type", "f", "-not", "-name", "*.pyc").split()
        assert sorted(code) == sorted(built.does("git ls-files src").split())
    assert found == {
        "train": [".venv", "conf", "poetry.lock", "pyproject.toml", "src"],
        "serve": [".venv", "src"],
    }


@pytest.mark.skipif(not shutil.which("docker"), reason="no docker on the PATH")
def test_without_an_engine_one_line_says_so(fresh: Project) -> None:
    said = fresh.refuses("poe image serve", DOCKER_HOST="unix:///nowhere/docker.sock")
    told, line = said.splitlines()
    assert told.startswith("Poe => ")
    assert line.startswith("error: Docker does not answer: ")
    assert "unix:///nowhere/docker.sock" in line


def test_without_docker_one_line_says_what_to_install(fresh: Project) -> None:
    said = fresh.refuses("PATH=$VIRTUAL_ENV/bin poe image serve")
    line = "error: there is no `docker` on the PATH: install Docker"
    assert said.splitlines()[1:] == [line]


def test_an_image_that_does_not_exist_is_refused_with_those_that_do(fresh: Project) -> None:
    said = fresh.refuses("poe image serve nothing").splitlines()[-1]
    assert said.endswith("error: nothing: no such target, expected train, serve, spark")


def test_options_go_to_docker(built: Project) -> None:
    built.does("poe image serve --label of=a-test")
    label = docker("inspect", "--format", "{{ .Config.Labels.of }}", f"{built.root.name}-serve")
    built.does("poe image serve")
    assert label == "a-test"


def test_a_base_that_is_not_there_is_named(built: Project) -> None:
    said = built.refuses("poe image serve --build-arg BASE_IMAGE=ml-ready-nowhere:0")
    # As Docker names it: poe repeats the command.
    assert "docker.io/library/ml-ready-nowhere:0" in said
    line = f"error: {built.root.name}-serve is not built: see the error above"
    assert said.splitlines()[-1] == line

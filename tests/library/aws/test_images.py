"""The images: what a build is given, and what is told when it fails."""

import configparser
import os
import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest
from account import ROOT
from deployable import write_project
from ml_ready.aws import images
from ml_ready.errors import ProjectError


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a `docker` that builds nothing writes down what it is asked."""
    (tmp_path / "bin").mkdir()
    log, script = tmp_path / "log", tmp_path / "bin" / "docker"
    script.write_text(
        "#!/bin/sh\n"
        f'echo "$DOCKER_DEFAULT_PLATFORM $*" >> {log}\n'
        '[ "$1" != image ] || echo "[{\\"Config\\": {\\"Labels\\": $LABELS}}]"\n'
        '[ "$1" != "$REFUSED" ] || { echo "so it is" >&2; exit 1; }\n'
        'while [ $# -gt 0 ]; do [ "$1" != --iidfile ] || echo sha256:1 > "$2"; shift; done\n',
        encoding="utf-8",
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=os.pathsep)
    return log


def test_an_image_is_built_for_sagemaker_with_what_this_machine_needs(
    docker: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IMAGE_OPTIONS", "--network host")
    # Nobody asks the package index by that proxy.
    monkeypatch.setattr(images, "secrets", lambda _: nullcontext([]))
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    monkeypatch.chdir(ROOT / "container")
    images.main(["train", "--label", "of=a-test"])
    (built,) = (line for line in docker.read_text("utf-8").splitlines() if " build " in line)
    assert built.startswith("linux/amd64 build --file container/Dockerfile --target train ")
    assert built.endswith(" --build-arg=HTTPS_PROXY --network host --label of=a-test .")
    assert "proxy.example" not in built
    assert capsys.readouterr().out.endswith("-train is sha256:1\n")


def test_an_engine_that_does_not_answer_is_told(
    docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFUSED", "version")
    with pytest.raises(ProjectError, match=r"^Docker does not answer: so it is: start it$"):
        images.build(ROOT, "serve")
    assert " build " not in docker.read_text("utf-8")


def test_a_build_gets_the_package_index_as_a_secret_and_is_told_when_it_fails(
    docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFUSED", "build")
    with pytest.raises(ProjectError, match="serve is not built: see the error above"):
        images.build(ROOT, "serve")
    assert " --secret id=pip,src=" in docker.read_text("utf-8")


@pytest.mark.usefixtures("docker")
@pytest.mark.parametrize(
    ("labels", "commit"),
    [('{"org.opencontainers.image.revision": "abc"}', "abc"), ("{}", "none"), ("null", "none")],
)
def test_the_commit_of_an_image_is_in_its_labels(
    monkeypatch: pytest.MonkeyPatch, labels: str, commit: str
) -> None:
    monkeypatch.setenv("LABELS", labels)
    assert images.revision("model@sha256:1") == commit


def test_the_commit_of_an_image_that_is_not_here_is_not_made_up(
    docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFUSED", "image")
    with pytest.raises(ProjectError, match="is not on this machine: docker pull model@sha256:1"):
        images.revision("model@sha256:1")
    monkeypatch.setenv("PATH", str(docker.parent / "nothing"))
    with pytest.raises(ProjectError, match="there is no `docker` on the PATH: install Docker"):
        images.revision("model@sha256:1")


def test_a_build_gets_the_credentials_of_the_index_and_the_certificates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("USERNAME", "ann@team")
    monkeypatch.setenv("PASSWORD", "/ x")
    with images.secrets(ROOT) as (_, pip, *certificates):
        assert certificates == ["--secret", "id=ca,src=/certificates.pem"]
        content = configparser.RawConfigParser()
        content.read(pip.removeprefix("id=pip,src="), encoding="utf-8")
    login = ":".join(("ann%40team", "%2F%20x"))
    index = f"https://{login}@index.example/simple"
    assert dict(content["global"]) == {"index-url": index, "cert": "/run/secrets/ca"}


def test_a_build_gets_the_credentials_of_an_index_that_the_project_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ("our-own", "open")
    monkeypatch.setenv("INDEXES", " ".join(f"{each}=https://{each}.example/" for each in names))
    monkeypatch.setenv("POETRY_HTTP_BASIC_OUR_OWN_USERNAME", "ann")
    monkeypatch.setenv("POETRY_HTTP_BASIC_OUR_OWN_PASSWORD", "a b")
    with images.secrets(ROOT) as (_, pip, *_):
        content = configparser.RawConfigParser()
        content.read(pip.removeprefix("id=pip,src="), encoding="utf-8")
    login = ":".join(("ann", "a%20b"))
    others = f"https://{login}@our-own.example/ https://open.example/"
    assert content["global"]["extra-index-url"] == others


@pytest.mark.usefixtures("docker")
def test_an_index_that_does_not_answer_ends_a_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_INDEX", "1")
    with pytest.raises(ProjectError, match=r"^the package index does not answer$"):
        images.build(ROOT, "serve")


def test_an_image_names_its_commit_and_whether_that_is_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project(tmp_path)
    assert images.commit(tmp_path) == ""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *arguments], check=True)
    head = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()
    (tmp_path / "conf" / "deploy" / "aws.yaml").unlink()  # no part of an image
    assert images.commit(tmp_path) == head
    (tmp_path / "poetry.lock").write_text("", encoding="utf-8")
    assert images.commit(tmp_path) == f"{head}-dirty"
    monkeypatch.setenv("PATH", "")  # no git
    assert images.commit(tmp_path) == ""


def test_an_unknown_target_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        images.main(["tran", "--label", "of=a-test"])
    assert "tran: no such target, expected train, serve, spark" in capsys.readouterr().err

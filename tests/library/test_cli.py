"""The command `ml-ready`: what it lists, and what it says where something is missing."""

import subprocess
import sys
from importlib import metadata
from importlib.metadata import version
from pathlib import Path

import pytest
import synthetic
from ml_ready import cli
from ml_ready.errors import ProjectError

SETTINGS = '[tool.ml-ready]\nproject = "{}"\n'


def test_alone_it_lists_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main([])
    listed = capsys.readouterr().out
    assert listed.startswith("usage: ml-ready COMMAND")
    assert all(f"\n  {name} " in listed for name in cli.COMMANDS)


def test_it_is_a_module_that_names_its_version() -> None:
    command = [sys.executable, "-m", "ml_ready", "--version"]
    assert subprocess.check_output(command, text=True) == f"ml-ready {version('ml-ready')}\n"


@pytest.mark.parametrize("name", cli.OF_FOLDER)
def test_each_command_says_how_it_is_used(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([name, "--help"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("usage: ")


def test_an_unknown_command_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(
        SystemExit, match="^error: endpiont: no such command, expected one of configure"
    ):
        cli.main(["endpiont"])


@pytest.mark.parametrize(
    ("command", "package", "extra"),
    # Imported only when records are checked, or when tests are written.
    [("endpoint", "boto3", "aws"), ("predict", "pandera", "train"), ("check", "httpx", "testing")],
)
def test_a_command_without_its_extra_says_what_to_install(
    command: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version_but(name: str) -> str:
        if name == package:
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", version_but)
    with pytest.raises(
        SystemExit,
        match=rf"{command} needs {package}: install ml-ready\[(\w+,)*{extra}(,\w+)*\], in a project"
        " by `python3 bootstrap",
    ):
        cli.main([command, "status"])


def test_a_module_of_the_library_that_is_missing_is_no_missing_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(cli.COMMANDS, "endpoint", cli._Command("aws.lost", "aws", ""))
    with pytest.raises(ModuleNotFoundError, match=r"ml_ready\.aws\.lost"):
        cli.main(["endpoint"])


def test_a_command_of_a_project_runs_in_the_project_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = synthetic.make(tmp_path / "project")
    monkeypatch.setattr(cli, "load_project", lambda _: project)
    monkeypatch.setattr("sys.argv", ["ml-ready"])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "no job"))
    cli.main(["configure"])
    assert (project.root / "params.yaml").is_file()
    with pytest.raises(SystemExit, match="^error: .*sed=1: no such key"):
        cli.main(["configure", "sed=1"])


def test_a_project_is_the_one_that_its_settings_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deeper").mkdir()
    (tmp_path / "pyproject.toml").write_text(SETTINGS.format("own_project:PROJECT"))
    (tmp_path / "own_project.py").write_text(
        f"from pathlib import Path\nimport synthetic\n"
        f"PROJECT = synthetic.make(Path({str(tmp_path / 'made')!r}))\nTARGET = 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert cli.load_project(tmp_path / "deeper").target == synthetic.TARGET
    assert cli._root(tmp_path / "deeper") == tmp_path  # whose files an error names
    (tmp_path / "pyproject.toml").write_text(SETTINGS.format("own_project:TARGET"))
    with pytest.raises(ProjectError, match="is own_project:TARGET, expected the name of a Project"):
        cli.load_project(tmp_path)


@pytest.mark.parametrize("settings", [None, "", SETTINGS.format("nothing")])
def test_a_folder_without_a_project_is_named(tmp_path: Path, settings: str | None) -> None:
    if settings is not None:
        (tmp_path / "pyproject.toml").write_text(settings)
    with pytest.raises(ProjectError, match=r"no pyproject\.toml here names a project"):
        cli.load_project(tmp_path)

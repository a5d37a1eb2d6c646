"""Which ml-ready a project uses; with the real Poetry: tests/project/test_pin.py."""

import signal
import subprocess
import zipfile
from pathlib import Path

import pytest
from ml_ready import cli, pin
from ml_ready.errors import ProjectError

SETTINGS = """\
[project]
name = "small"
dependencies = ["ml-ready[train]==0.2.0"]

[dependency-groups]
serve = ["ml-ready[serve]==0.2.0"]

[tool.poetry.dependencies]
ml-ready = { path = "vendor/ml_ready-0.2.0-py3-none-any.whl" }

[tool.poetry.group.serve.dependencies]
ml-ready = { path = "vendor/ml_ready-0.2.0-py3-none-any.whl" }

[tool.poe]
executor.type = "simple"

[tool.poe.tasks.check]
shell = "! test -e bad"
"""
LOCK = """\
[[package]]
name = "ml-ready"
version = "0.2.0"

[package.source]
type = "file"

[[package]]
name = "numpy"
version = "2.4.0"

[metadata]
content-hash = "1"
"""
# Writes down how it was called, and fails where a file of that name says so.
BOOTSTRAP = """\
import pathlib, sys
name = "-".join(["bootstrap", *sys.argv[1:3]])
with open("calls.log", "a") as log:
    log.write(name + "\\n")
if name == "bootstrap-poetry-lock":
    lock = pathlib.Path("poetry.lock")
    lock.write_text(lock.read_text() + "locked\\n")
sys.exit(pathlib.Path("no-" + name).exists())
"""


def make_wheel(folder: Path, version: str, name: str = "ml-ready", content: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"ml_ready-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        text = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n"
        archive.writestr(f"ml_ready-{version}.dist-info/METADATA", text)
        archive.writestr("ml_ready/__init__.py", content)
    return wheel


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A committed project with version 0.2.0 in `vendor/`, which commands run in."""
    root = tmp_path / "project"
    make_wheel(root / "vendor", "0.2.0")
    for name, text in {
        "pyproject.toml": SETTINGS,
        "poetry.lock": LOCK,
        "bootstrap.py": BOOTSTRAP,
    }.items():
        (root / name).write_text(text)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *arguments], cwd=root, check=True)
    monkeypatch.chdir(root)
    return root


def changed(root: Path) -> list[str]:
    """The paths that git sees as changed, the log of the calls apart."""
    command = ["git", "status", "--porcelain", "--untracked-files=all"]
    lines = subprocess.check_output(command, cwd=root, text=True).splitlines()
    return [line[3:] for line in lines if not line.endswith((".log", "bad"))]


def calls(root: Path) -> list[str]:
    log = root / "calls.log"
    return log.read_text().splitlines() if log.exists() else []


def test_a_wheel_replaces_wheel_pins_and_lock(root: Path, tmp_path: Path) -> None:
    pin.upgrade([str(make_wheel(tmp_path, "0.3.0"))])
    assert [path.name for path in (root / "vendor").iterdir()] == [
        "ml_ready-0.3.0-py3-none-any.whl"
    ]
    assert (root / "pyproject.toml").read_text() == SETTINGS.replace("0.2.0", "0.3.0")
    # Poetry would keep what it has locked of a wheel.
    assert "ml-ready" not in (root / "poetry.lock").read_text()
    assert 'name = "numpy"' in (root / "poetry.lock").read_text()
    assert calls(root) == ["bootstrap-poetry-lock", "bootstrap"]


def test_what_is_pinned_already_changes_nothing(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pin.upgrade(["vendor/ml_ready-0.2.0-py3-none-any.whl"])
    assert capsys.readouterr().out.endswith("nothing to change\n")
    assert changed(root) == calls(root) == []


def test_other_content_of_the_same_version_is_a_change(root: Path, tmp_path: Path) -> None:
    pin.upgrade([str(make_wheel(tmp_path, "0.2.0", content="WORD = 1"))])
    assert changed(root) == ["poetry.lock", "vendor/ml_ready-0.2.0-py3-none-any.whl"]


@pytest.mark.parametrize(
    ("obstacle", "line"),
    [
        ("bad", "`poe check` fails with it"),
        ("no-bootstrap-poetry-lock", "Poetry cannot lock it"),
    ],
)
def test_a_version_that_does_not_work_changes_nothing(
    root: Path, tmp_path: Path, obstacle: str, line: str
) -> None:
    wheel = make_wheel(tmp_path, "0.3.0")
    (root / obstacle).touch()
    with pytest.raises(
        ProjectError, match=f"{line}, see the error above. The project is unchanged.$"
    ):
        pin.upgrade([str(wheel)])
    (root / obstacle).unlink()
    assert changed(root) == []
    assert calls(root)[-1] == "bootstrap"


def test_what_cannot_be_installed_again_is_said(root: Path, tmp_path: Path) -> None:
    (root / "no-bootstrap").touch()
    line = (
        "`bootstrap.py` cannot install it, see the error above. The files are unchanged, but .venv"
    )
    with pytest.raises(ProjectError, match=line):
        pin.upgrade([str(make_wheel(tmp_path, "0.3.0"))])
    (root / "no-bootstrap").unlink()
    assert changed(root) == []


def test_a_version_that_fails_the_checks_can_be_kept(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "bad").touch()
    pin.upgrade(["--keep", str(make_wheel(tmp_path, "0.3.0"))])
    assert "`poe check` fails with it; kept" in capsys.readouterr().out
    assert "0.3.0" in (root / "pyproject.toml").read_text()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_puts_back_what_was(
    sent: signal.Signals, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = pin._fails

    def stopped(folder: Path, *arguments: str) -> bool:
        if arguments[:2] == ("-m", "poethepoet"):
            # As a bootstrap.py that was stopped may leave it.
            (root / "poetry.lock").unlink()
            signal.raise_signal(sent)
        return fails(folder, *arguments)

    monkeypatch.setattr(pin, "_fails", stopped)
    with pytest.raises(KeyboardInterrupt):
        pin.upgrade([str(make_wheel(tmp_path, "0.3.0"))])
    assert changed(root) == []


def test_a_project_moves_to_an_index_and_back(root: Path, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "0.2.0")
    pin.use_index(["our-own", "--url", "https://packages.example/simple/"])
    text = (root / "pyproject.toml").read_text()
    assert text.count('ml-ready = { source = "our-own" }') == 2
    assert text.endswith(
        '\n[[tool.poetry.source]]\nname = "our-own"\n'
        'url = "https://packages.example/simple/"\npriority = "explicit"\n'
    )
    assert not (root / "vendor").exists()
    subprocess.run(["git", "add", "-A"], check=True)
    pin_now = pin.current(root)
    assert (pin_now.version, pin_now.index) == ("0.2.0", "our-own")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run([*git, "commit", "-q", "-m", "index"], check=True)
    pin.upgrade(["0.3.0"])
    assert pin.current(root) == pin.Pin("0.3.0", index="our-own")
    subprocess.run([*git, "commit", "-q", "-a", "-m", "upgrade"], check=True)
    # The address is known by now.
    pin.use_index(["our-own"])
    pin.upgrade([str(wheel)])
    assert (root / "pyproject.toml").read_text() == SETTINGS


def test_an_index_that_other_packages_use_stays(root: Path) -> None:
    settings = pin.rewritten(SETTINGS, pin.Pin("0.2.0", index="own"), "https://a.example/")
    shared = settings.replace("[tool.poe]", 'numpy = { source = "own" }\n\n[tool.poe]')
    back = pin.rewritten(shared, pin.Pin("0.2.0", Path("ml_ready-0.2.0-py3-none-any.whl")))
    assert "[[tool.poetry.source]]" in back


def test_a_command_runs_on_a_checkout(
    root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "checkout" / "src" / "ml_ready"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("WORD = 'of the checkout'\n")
    command = ["python", "-c", "import ml_ready; print(ml_ready.WORD); raise SystemExit(3)"]
    with pytest.raises(SystemExit, match="3"):
        pin.with_checkout([str(tmp_path / "checkout"), *command])
    assert capfd.readouterr().out == "of the checkout\n"
    assert changed(root) == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["upgrade", "1.2.3"], "1.2.3: this project has ml-ready in vendor/, expected the path of"),
        (["upgrade", "latest"], "latest: expected a file that ends in .whl, or a version such as"),
        (["upgrade", "none.whl"], r"none.whl: no readable wheel \("),
        (["upgrade", "pyproject.whl"], r"pyproject.whl: no readable wheel \("),
        (["upgrade", "other.whl"], ": a wheel of other 0.2.0, expected ml-ready in a file named"),
        (["use-index", "company"], "use-index company: expected --url URL"),
        (["use-index", "pypi", "--url", "https://a.example"], "expected no --url: it is the index"),
        (["use-index", "a b", "--url", "https://a.example"], "a b: expected a name of letters"),
        (["use-index", "own", "--url", "https://ann@a.example"], "without user and password"),
        (["use-index", "own", "--url", "packages"], "--url packages: expected an address that st"),
        (["use-index", "own", "--url", 'https://a"b'], "expected an address that starts with http"),
        (["with-checkout", ".", "poe"], ".: no src/ml_ready, expected a checkout of ml-ready"),
        (["with-checkout", "checkout"], "with-checkout: expected a command, such as poe check"),
        (["with-checkout", "checkout", "no-such"], "no-such: no such command"),
    ],
)
def test_what_cannot_be_done_is_refused(root: Path, arguments: list[str], line: str) -> None:
    (root / "pyproject.whl").write_text(SETTINGS)
    make_wheel(root / "other", "0.2.0", "other").rename(root / "other.whl")
    (root / "checkout" / "src" / "ml_ready").mkdir(parents=True)
    (root / "checkout" / "src" / "ml_ready" / "__init__.py").touch()
    before = changed(root)
    with pytest.raises(SystemExit, match=f"^error: .*{line}"):
        cli.main(arguments)
    assert changed(root) == before
    assert calls(root) == []


def test_changes_that_are_not_committed_are_not_overwritten(root: Path, tmp_path: Path) -> None:
    with (root / "pyproject.toml").open("a") as settings:
        settings.write("# ours\n")
    with pytest.raises(ProjectError, match=r"^pyproject.toml: changed since the last commit. Com"):
        pin.upgrade([str(make_wheel(tmp_path, "0.3.0"))])


def test_without_a_repository_nothing_is_changed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(
        ProjectError, match="`git status` fails, expected a repository. Run `git init`"
    ):
        pin.upgrade([str(make_wheel(tmp_path, "0.3.0"))])
    assert calls(root) == []


def test_another_address_for_a_known_index_is_refused(root: Path) -> None:
    with (root / "pyproject.toml").open("a") as settings:
        settings.write('[[tool.poetry.source]]\nname = "own"\nurl = "https://a.example"\n')
        settings.write('[[tool.poetry.source]]\nname = "PyPI"\n')
    with pytest.raises(ProjectError, match="has https://a.example for own, expected the same"):
        pin.use_index(["own", "--url", "https://b.example"])


def test_settings_that_are_no_toml_are_refused(root: Path) -> None:
    (root / "pyproject.toml").write_text(f"{SETTINGS}\n[half\n")
    with pytest.raises(ProjectError, match="^pyproject.toml: not readable: "):
        pin.use_index(["pypi"])


def test_a_missing_lock_is_named(root: Path) -> None:
    (root / "poetry.lock").unlink()
    with pytest.raises(ProjectError, match="^poetry.lock is missing. Restore it: `git checkout"):
        pin.use_index(["pypi"])


def test_pins_that_disagree_are_refused(root: Path) -> None:
    (root / "pyproject.toml").write_text(SETTINGS.replace("==0.2.0", "==0.3.0", 1))
    with pytest.raises(ProjectError, match=r"is pinned to 0\.2\.0, 0\.3\.0 from .*, expected one"):
        pin.current(root)


def test_a_folder_without_a_pin_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProjectError, match="no pyproject.toml here pins ml-ready with `==`"):
        pin.upgrade(["0.3.0"])

"""A bake where something is in the way: a line says what, and nothing of the user's is touched."""

import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import without_root_power
from tests.render.conftest import command, cookiecutter, surroundings

SLUG = "flight-delays"


@pytest.fixture
def here(home: Path) -> Iterator[Path]:
    """The folder that the bake starts in."""
    folder = home / "work" / "here"
    yield folder
    folder.chmod(0o755)
    home.chmod(0o755)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def mine(home: Path, here: Path) -> Path:
    """A project that its user has changed, and committed nothing of that."""
    assert cookiecutter(home, "--no-input").returncode == 0
    project = here / SLUG
    for name in ("README.md", "notes.txt"):
        with (project / name).open("a") as page:
            page.write("mine\n")
    return project


@pytest.mark.parametrize("option", ["--no-input", "--skip-if-file-exists"])
def test_an_existing_folder_is_left_alone(option: str, mine: Path, home: Path) -> None:
    before = contents(mine)
    done = cookiecutter(home, "--no-input", option)
    assert done.returncode == 1
    assert done.stdout + done.stderr == f'Error: "{SLUG}" directory already exists\n'
    assert contents(mine) == before


def test_overwriting_keeps_files_that_are_not_the_templates(mine: Path, home: Path) -> None:
    done = cookiecutter(home, "--no-input", "--overwrite-if-exists")
    assert (done.returncode, done.stderr) == (0, "")
    assert (mine / "notes.txt").read_text() == "mine\n"
    status = ["git", "status", "--porcelain"]
    assert subprocess.check_output(status, cwd=mine, text=True) == "?? notes.txt\n"


def test_overwriting_can_skip_the_files_that_were_filled_in(mine: Path, home: Path) -> None:
    (mine / "dvc.yaml").unlink()
    done = cookiecutter(home, "--no-input", "--overwrite-if-exists", "--skip-if-file-exists")
    assert (done.returncode, done.stderr) == (0, "")
    assert (mine / "README.md").read_text("utf-8").endswith("mine\n")
    assert (mine / "dvc.yaml").exists()


def test_an_empty_folder_is_filled(here: Path, home: Path) -> None:
    (here / SLUG).mkdir()
    assert cookiecutter(home, "--no-input").returncode == 0
    assert (here / SLUG / ".git").is_dir()


def test_a_file_of_that_name_is_left_alone(here: Path, home: Path) -> None:
    (here / SLUG).write_text("mine")
    done = cookiecutter(home, "--no-input")
    assert done.stdout + done.stderr == f'Error: "{SLUG}" directory already exists\n'
    assert (here / SLUG).read_text() == "mine"


def test_a_link_is_left_alone(here: Path, home: Path) -> None:
    (home / "elsewhere").mkdir()
    (here / SLUG).symlink_to(home / "elsewhere")
    done = cookiecutter(home, "--no-input")
    assert done.stdout + done.stderr == f'Error: "{SLUG}" directory already exists\n'
    assert (here / SLUG).is_symlink()


def test_a_folder_that_cannot_be_written_is_named(here: Path, home: Path) -> None:
    here.chmod(0o555)
    done = cookiecutter(home, "--no-input", before=without_root_power)
    assert done.returncode == 1
    assert done.stderr == f"Error: {SLUG}: Permission denied. Fix that and bake again\n"
    assert not any(here.iterdir())


@pytest.mark.parametrize("exists", [True, False])
def test_a_home_that_cannot_be_written_is_named(exists: bool, here: Path, home: Path) -> None:
    at_home = home / "nobody"
    if exists:
        at_home.mkdir()
        at_home.chmod(0o555)
    home.chmod(0o555)
    done = cookiecutter(home, "--no-input", before=without_root_power, HOME=str(at_home))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: {at_home}")
    assert line.endswith(": Permission denied. Fix that and bake again")
    assert not any(here.iterdir())


def test_a_home_that_is_not_there_is_no_obstacle(here: Path, home: Path) -> None:
    done = cookiecutter(home, "--no-input", HOME=str(home / "new" / "home"))
    assert (done.returncode, done.stderr) == (0, "")
    log = ["git", "-C", str(here / SLUG), "log", "--format=%an"]
    assert subprocess.check_output(log, text=True) == "Data Science Team\n"


def with_room_for(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_file_that_cannot_be_finished_is_said_and_nothing_is_left(here: Path, home: Path) -> None:
    folder = home / "work" / "here" / SLUG
    done = cookiecutter(home, "--no-input", before=with_room_for(100_000))
    assert done.returncode == 1
    assert done.stderr == f"Error: {folder}: File too large. Fix that and bake again\n"
    assert not any(here.iterdir())
    assert cookiecutter(home, "--no-input").returncode == 0


def with_a_disk_of_its_own() -> list[str]:
    """Return the start of a command that may mount: what it mounts goes when it ends."""
    alone = ["unshare", "--mount"]
    for start in (alone, [*alone, "--map-root-user"], ["sudo", "-n", *alone]):
        test = [*start, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        if shutil.which(start[0]) and subprocess.run(test, capture_output=True).returncode == 0:
            return start
    pytest.skip("mounting a small disk needs root, sudo without a password, or user namespaces")


def test_a_full_disk_is_named_and_nothing_is_left(here: Path, home: Path) -> None:
    script = (
        f"mount -t tmpfs -o size=200k tmpfs '{here}' && cd '{here}' && \"$@\"; s=$?; ls -A; exit $s"
    )
    # sudo keeps none of it.
    environment = ["env", *(f"{name}={text}" for name, text in surroundings(home).items())]
    bake = ["sh", "-c", script, "sh", *command("--no-input")]
    done = subprocess.run(
        [*with_a_disk_of_its_own(), *environment, *bake], capture_output=True, text=True
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: {here / SLUG}")
    assert line.endswith("No space left on device. Fix that and bake again")
    assert done.stdout == ""

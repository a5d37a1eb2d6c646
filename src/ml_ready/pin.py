"""Which ml-ready a project uses: a wheel in `vendor/`, a version of an index, or a checkout."""

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import ProjectError
from .runner import interruptible

_SETTINGS, _LOCK, _VENDOR = "pyproject.toml", "poetry.lock", "vendor"
_CHANGED = (_SETTINGS, _LOCK, _VENDOR)
_PIN = re.compile(r'(?<="ml-ready)((?:\[[^\]]*\])?==)([^"]+)')
_ORIGIN = re.compile(r"^(ml-ready = )(\{.*\})$", re.MULTILINE)
_SOURCE = '\n[[tool.poetry.source]]\nname = "{}"\nurl = "{}"\npriority = "explicit"\n'
_LOCKED = re.compile(
    r'\[\[package\]\]\nname = "ml-ready"\n.*?(?=\[\[package\]\]\n|\[metadata\]\n)', re.S
)


@dataclass(frozen=True)
class Pin:
    """A version of ml-ready, and where Poetry takes it from.

    Parameters
    ----------
    version : str
    wheel : pathlib.Path, optional
        The file that goes into `vendor/`.
    index : str
        Without a wheel: the name of a source of Poetry. `pypi` is the index that pip is set to.
    """

    version: str
    wheel: Path | None = None
    index: str = ""

    @property
    def origin(self) -> str:
        """What `[tool.poetry.dependencies]` says."""
        if self.wheel:
            return f'{{ path = "{_VENDOR}/{self.wheel.name}" }}'
        return f'{{ source = "{self.index}" }}'

    def __str__(self) -> str:
        place = f"{_VENDOR}/{self.wheel.name}" if self.wheel else f"the index {self.index}"
        return f"ml-ready {self.version} from {place}"


def upgrade(arguments: Sequence[str]) -> None:
    """Use a wheel, which goes into `vendor/`, or another version of the project's index.

    Parameters
    ----------
    arguments : sequence of str

    Raises
    ------
    ProjectError
        When the version cannot be used or the checks fail. The project is unchanged then.
    """
    parser = _parser("upgrade", "Use another version of ml-ready, if the checks pass with it.")
    parser.add_argument("target", metavar="WHEEL|VERSION", help="a file, or a version on the index")
    options = parser.parse_args(arguments)
    root = _find_project(Path.cwd())
    if options.target.endswith(".whl"):
        _change(root, _of_wheel(Path(options.target)), options.keep)
        return
    index = current(root).index
    if not re.fullmatch(r"\d+(\.\d+)*", options.target):
        raise ProjectError(
            f"{options.target}: expected a file that ends in .whl, or a version such as 0.3.0"
        )
    if not index:
        raise ProjectError(
            f"{options.target}: this project has ml-ready in {_VENDOR}/, expected the path of a "
            "wheel.",
            "Give one, or take ml-ready from an index first: `ml-ready use-index NAME`",
        )
    _change(root, Pin(options.target, index=index), options.keep)


def use_index(arguments: Sequence[str]) -> None:
    """Take the pinned version from a package index instead of `vendor/`.

    Parameters
    ----------
    arguments : sequence of str

    Raises
    ------
    ProjectError
        When the index does not have the version, or the checks fail. The project is unchanged then.
    """
    parser = _parser("use-index", "Take ml-ready from a package index instead of vendor/.")
    parser.add_argument("name", help="`pypi` for the index that pip is set to, else a name for URL")
    parser.add_argument("--url", help="simple index, such as https://packages.example/simple/")
    options = parser.parse_args(arguments)
    root = _find_project(Path.cwd())
    configured = _sources(_read(root)).get(options.name, "")
    url = options.url or configured
    if not re.fullmatch("[A-Za-z0-9][A-Za-z0-9_-]*", options.name):
        raise ProjectError(f"{options.name}: expected a name of letters, digits, - and _")
    if (options.name == "pypi") == bool(url):
        expected = "no --url: it is the index that pip is set to" if url else "--url URL"
        raise ProjectError(f"use-index {options.name}: expected {expected}")
    if "@" in url:
        raise ProjectError(
            "--url: expected an address without user and password.",
            "Keep them in pip's configuration: an extra-index-url with the same address",
        )
    if url and not re.fullmatch(r"https?://[^\s\"\\]+", url):
        raise ProjectError(f"--url {url}: expected an address that starts with https://")
    if configured and url != configured:
        raise ProjectError(
            f"--url {url}: {_SETTINGS} has {configured} for {options.name}, expected the same.",
            "Change it there, or choose another name",
        )
    _change(root, Pin(current(root).version, index=options.name), options.keep, url)


def with_checkout(arguments: Sequence[str]) -> None:
    """Run a command of a project with the ml-ready of a checkout; no file is changed.

    Parameters
    ----------
    arguments : sequence of str

    Raises
    ------
    ProjectError
        When the folder has no library, or there is no such command.
    """
    parser = argparse.ArgumentParser(
        "ml-ready with-checkout",
        description="Run a command with the ml-ready of a checkout; the project stays as it is.",
    )
    parser.add_argument("folder", type=Path, help="a clone of the repository of ml-ready")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="such as poe check")
    options = parser.parse_args(arguments)
    source = options.folder.resolve() / "src"
    if not (source / "ml_ready" / "__init__.py").is_file():
        raise ProjectError(f"{options.folder}: no src/ml_ready, expected a checkout of ml-ready")
    if not options.command:
        raise ProjectError("with-checkout: expected a command, such as poe check")
    paths = {"PYTHONPATH": str(source), "PATH": str(Path(sys.executable).parent)}
    joined = {
        name: os.pathsep.join(filter(None, (path, os.environ.get(name))))
        for name, path in paths.items()
    }
    program = shutil.which(options.command[0], path=joined["PATH"])
    if program is None:
        raise ProjectError(f"{options.command[0]}: no such command")
    environment = os.environ | joined
    done = subprocess.run([program, *options.command[1:]], env=environment, check=False)
    sys.exit(done.returncode)


def _find_project(folder: Path) -> Path:
    """Return the nearest folder, at or above another, whose `pyproject.toml` pins ml-ready."""
    for each in (folder, *folder.parents):
        if (each / _SETTINGS).is_file() and _PIN.search(_read(each)):
            return each
    raise ProjectError(
        f"{folder}: no {_SETTINGS} here pins ml-ready with `==`.", "Run the command in a project."
    )


def current(root: Path) -> Pin:
    """Read which ml-ready a project uses.

    Parameters
    ----------
    root : pathlib.Path

    Returns
    -------
    Pin

    Raises
    ------
    ProjectError
        When `pyproject.toml` names several versions or sources.
    """
    text = _read(root)
    versions = {match[2] for match in _PIN.finditer(text)}
    origins = {match[2] for match in _ORIGIN.finditer(text)}
    if len(versions) != 1 or len(origins) != 1:
        raise ProjectError(
            f"{root / _SETTINGS}: ml-ready is pinned to {', '.join(sorted(versions))} from "
            f"{', '.join(sorted(origins)) or 'nowhere'}, expected one version and one source.",
            "Use the same in each line of ml-ready.",
        )
    origin = tomllib.loads(f"origin = {origins.pop()}")["origin"]
    wheel = Path(root, origin["path"]) if "path" in origin else None
    return Pin(versions.pop(), wheel, origin.get("source", ""))


def _of_wheel(wheel: Path) -> Pin:
    """Read the version of a wheel; refuse one that is not of ml-ready."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            name = next(each for each in archive.namelist() if each.endswith("dist-info/METADATA"))
            metadata = archive.read(name).decode()
    except (OSError, StopIteration, ValueError, zipfile.BadZipFile) as error:
        raise ProjectError(
            f"{wheel}: no readable wheel ({error}), expected one of ml-ready"
        ) from error
    fields = dict(re.findall(r"^(Name|Version): (.+)$", metadata, re.MULTILINE))
    expected = f"ml_ready-{fields.get('Version')}-py3-none-any.whl"
    if fields.get("Name") != "ml-ready" or wheel.name != expected:
        raise ProjectError(
            f"{wheel}: a wheel of {fields.get('Name')} {fields.get('Version')}, expected ml-ready "
            f"in a file named {expected}"
        )
    return Pin(fields["Version"], wheel.resolve())


def _sources(settings: str) -> dict[str, str]:
    """Return name and address of each package index that `pyproject.toml` names."""
    try:
        tables = tomllib.loads(settings)
    except tomllib.TOMLDecodeError as error:
        raise ProjectError(f"{_SETTINGS}: not readable: {error}") from error
    sources = tables.get("tool", {}).get("poetry", {}).get("source", [])
    # Poetry knows the address of PyPI.
    return {each["name"]: each["url"] for each in sources if "url" in each}


def rewritten(settings: str, pin: Pin, url: str = "") -> str:
    """Return the text of `pyproject.toml` with another pin.

    Parameters
    ----------
    settings : str
    pin : Pin
    url : str
        The address of the index of the pin, where `settings` may not name it yet.

    Returns
    -------
    str
    """
    before = {match[2] for match in _ORIGIN.finditer(settings)}
    text = _PIN.sub(rf"\g<1>{pin.version}", settings)
    text = _ORIGIN.sub(lambda match: match[1] + pin.origin, text)
    for name, address in _sources(settings).items():
        # What an earlier `use-index` has written, and nothing else uses.
        block = _SOURCE.format(name, address)
        used = f'source = "{name}"'
        if any(used in origin for origin in before) and used not in text:
            text = text.replace(block, "")
    if url and pin.index not in _sources(text):
        text += _SOURCE.format(pin.index, url)
    return text


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(f"ml-ready {name}", description=description)
    parser.add_argument(
        "--keep", action="store_true", help="keep the change although `poe check` fails"
    )
    return parser


@interruptible()
def _change(root: Path, pin: Pin, keep: bool, url: str = "") -> None:
    """Change pin, wheel and lock, install and check; or leave the project as it was."""
    before, old = current(root), _files(root)
    new = {_SETTINGS: rewritten(_read(root), pin, url).encode()}
    if pin.wheel:
        new[f"{_VENDOR}/{pin.wheel.name}"] = pin.wheel.read_bytes()
    # Poetry keeps what it has locked of a wheel whose version is the same, its hash included.
    new[_LOCK] = _LOCKED.sub("", old[_LOCK].decode()).encode()
    if new == old | {_LOCK: new[_LOCK]}:
        _say(f"{before}: nothing to change")
        return
    _require_committed(root)
    try:
        _write(root, new)
        if _fails(root, "bootstrap.py", "poetry", "lock", "--no-interaction"):
            raise ProjectError("Poetry cannot lock it")
        if _fails(root, "bootstrap.py"):
            raise ProjectError("`bootstrap.py` cannot install it")
        if _fails(root, "-m", "poethepoet", "check"):
            if not keep:
                raise ProjectError("`poe check` fails with it")
            _say("`poe check` fails with it; kept")
    except BaseException as error:
        _write(root, old)
        outcome = "The project is unchanged."
        if _fails(root, "bootstrap.py"):
            outcome = "The files are unchanged, but .venv is not: run `python3 bootstrap.py`."
        if isinstance(error, ProjectError):
            raise ProjectError(f"{pin}: {error.problem}, see the error above. {outcome}") from error
        _say(outcome)
        raise
    _say(f"Now {pin}, before {before}. Next: `poe pipeline`, then commit {', '.join(_CHANGED)}")


def _files(root: Path) -> dict[str, bytes]:
    """Read the files that a change replaces, by their paths in the project."""
    if not (root / _LOCK).is_file():
        raise ProjectError(f"{_LOCK} is missing.", f"Restore it: `git checkout {_LOCK}`")
    wheels = [f"{_VENDOR}/{path.name}" for path in (root / _VENDOR).glob("ml_ready-*.whl")]
    return {name: (root / name).read_bytes() for name in (_SETTINGS, _LOCK, *wheels)}


def _write(root: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(exist_ok=True)
        # On a full disk the file that is there stays whole.
        new = path.with_name(f".{path.name}.new")
        new.write_bytes(content)
        new.replace(path)
    for wheel in (root / _VENDOR).glob("ml_ready-*.whl"):
        if f"{_VENDOR}/{wheel.name}" not in files:
            wheel.unlink()
    with contextlib.suppress(OSError):
        (root / _VENDOR).rmdir()


def _require_committed(root: Path) -> None:
    """Raise when `git checkout` could not bring back what a change replaces."""
    command = ["git", "status", "--porcelain", "--", *_CHANGED]
    try:
        status = subprocess.run(
            command, cwd=root, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise ProjectError(
            f"{root}: `git status` fails, expected a repository.", "Run `git init`, and commit"
        ) from error
    if status:
        changed = ", ".join(line[3:] for line in status.splitlines())
        raise ProjectError(
            f"{changed}: changed since the last commit.",
            "Commit these files first, or restore them",
        )


def _fails(root: Path, *arguments: str) -> bool:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=root, check=False).returncode != 0


def _read(root: Path) -> str:
    return (root / _SETTINGS).read_text(encoding="utf-8")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()

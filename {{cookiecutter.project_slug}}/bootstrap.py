"""Set up a fresh clone: Poetry in `.poetry/`, the locked packages in `.venv/`, the git hooks."""
# Needs nothing but Python, and print is how it talks.
# ruff: noqa: T201

import argparse
import ast
import contextlib
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
import zipfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Old Pythons must be able to read this file to turn themselves away: no syntax newer than 3.6.
VERSION = "{}.{}".format(*sys.version_info)
if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(
        f"error: this is Python {VERSION}, and 3.11 or newer is needed: run bootstrap.py with that"
    )

import tomllib  # noqa: E402

PINS = ("poetry==2.5.1", "poetry-plugin-pypi-mirror==0.6.5")
ROOT = Path(__file__).resolve().parent
POETRY, VENV = ROOT / ".poetry", ROOT / ".venv"
WINDOWS = os.name == "nt"
AGAIN = f"{Path(sys.executable).name} {sys.argv[0]}"

# Left by an active environment, a git hook or personal settings, these lead away from this folder.
MISLEADING = re.compile(
    "VIRTUAL_ENV|CONDA_PREFIX|CONDA_DEFAULT_ENV|PYTHONPATH|PYTHONHOME|__PYVENV_LAUNCHER__"
    "|GIT_DIR|GIT_WORK_TREE|GIT_INDEX_FILE|POETRY_VIRTUALENVS_.*"
)
INHERITED = {name: value for name, value in os.environ.items() if not MISLEADING.fullmatch(name)}

# What pip, Poetry or the system say, and what a person should read instead.
CAUSES = {
    "No space left on device": "the disk is full: free some space",
    "(?:Permission denied|Read-only file system|Access is denied)(?:: '([^']+)')?": (
        "no permission to write {0}: make it writable"
    ),
    r"Current Python version \((.+)\) is not allowed by the project \((.+)\)": (
        "this is Python {0}, but pyproject.toml requires {1}: use such a Python"
    ),
    "changed significantly since poetry.lock was last generated": (
        f"poetry.lock does not match pyproject.toml: run {AGAIN} poetry lock"
    ),
    "Downloaded distributions for (.+) did not match any known checksums": (
        "{0} from the package index {host} does not match its hash in poetry.lock: ask those who"
        " run the index"
    ),
    "CERTIFICATE_VERIFY_FAILED": (
        "the certificate of the package index {host} is not trusted: set PIP_CERT to the file"
        " with your organisation's certificates"
    ),
    "40[13] (?:Client )?Error|Authorization error": (
        "the package index {host} refuses access: put valid credentials into PIP_INDEX_URL or"
        " pip's configuration"
    ),
    "All attempts to connect|connection broken by|ConnectionError|ProxyError|Timeout": (
        "no answer from the package index {host}: check the network, the proxy, and PIP_INDEX_URL"
        " or pip's configuration"
    ),
    "(?:No matching distribution found|Unable to find installation candidates) for (.+)": (
        "the package index {host} has no {0}: set PIP_INDEX_URL to a complete one"
    ),
}


class BootstrapError(Exception):
    """A reason to stop: what was found and what to do, in one line."""


def explain(text: str, index: str = "") -> str:
    """Give the line for a known cause in an output; empty when none is known."""
    for pattern, message in CAUSES.items():
        match = re.search(pattern, text)
        if match:
            return message.format(*match.groups("this folder"), host=urlsplit(index).hostname)
    return ""


def without_credentials(text: str) -> str:
    """Blank user names and passwords in URLs."""
    return re.sub(r"://[^/\s]+@", "://****@", text)


def ask(*command: str) -> str:
    """Output of a quick command."""
    done = subprocess.run(command, cwd=ROOT, env=INHERITED, capture_output=True, text=True)
    if done.returncode:
        raise BootstrapError(" ".join(without_credentials(done.stderr).split()) + ": fix that")
    return done.stdout.strip()


def run(label: str, command: list[str], verbose: bool) -> None:
    """Run a command behind one line of progress; its own output shows when it fails."""
    env = environment()
    print(f"{label} ... ", end="\n" if verbose else "", flush=True)
    live = sys.stdout.isatty() and not verbose
    width = shutil.get_terminal_size().columns - 1
    started = time.monotonic()
    output = ""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="backslashreplace",
    )
    try:
        for raw in process.stdout or ():
            line = without_credentials(raw)
            output += line
            if verbose:
                print(line, end="", flush=True)
            elif live:
                print(f"\r{f'{label} ... {line.strip()}':{width}.{width}}", end="", flush=True)
        failed = process.wait()
    except KeyboardInterrupt:
        # The terminal has told the command as well: let it remove its half-made files.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)
        process.kill()
        raise
    if live:
        print(f"\r{'':{width}}\r", end="")
    outcome = "failed" if failed else f"{time.monotonic() - started:.1f} s"
    print(f"{label} ... {outcome}" if live or verbose else outcome, flush=True)
    if failed:
        known = explain(output, env["POETRY_PYPI_MIRROR_URL"])
        if not known and not verbose:
            print(output, end="", flush=True)
        raise BootstrapError(known or f"{label}: see the error above")


def python(folder: Path, *arguments: str) -> list[str]:
    """Command line for the interpreter of a virtual environment."""
    # -P: this folder holds no modules for pip, Poetry or pre-commit.
    return [str(folder / ("Scripts/python.exe" if WINDOWS else "bin/python")), "-P", *arguments]


def packages_of(folder: Path) -> Path:
    """Folder of a virtual environment that packages are installed into."""
    base = {"base": str(folder), "platbase": str(folder)}
    return Path(sysconfig.get_path("purelib", "venv", base))


def version_of(folder: Path) -> str:
    """Python version of a virtual environment; empty when it does not run."""
    with contextlib.suppress(OSError, BootstrapError):
        return ask(*python(folder, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"))
    return ""


def read(path: Path) -> str:
    """Text of a file; empty when there is none."""
    return path.read_text("utf-8", "replace") if path.is_file() else ""


def unpack_pip(folder: Path) -> None:
    """Unpack the pip that Python carries, which takes a tenth of the time of `ensurepip`."""
    try:
        import ensurepip

        # Linux distributions keep the wheel in a folder of their own.
        homes = (sysconfig.get_config_var("WHEEL_PKG_DIR"), Path(ensurepip.__file__).parent)
        wheel = next(wheel for home in homes if home for wheel in Path(home).rglob("pip-*.whl"))
    except (ImportError, StopIteration):
        raise BootstrapError(
            f"this Python {VERSION} comes without ensurepip: install it (on Debian and Ubuntu the"
            f" package python{VERSION}-venv)"
        ) from None
    zipfile.ZipFile(wheel).extractall(packages_of(folder))


@functools.cache
def environment() -> dict[str, str]:
    """Environment of pip, Poetry and pre-commit: pip's index and certificate count for all.

    Many indexes serve the simple API only, hence the mirror plugin instead of Poetry's client.
    """
    # This Python, not Poetry's, because pip also reads the pip.conf of an active environment.
    listed = ask(sys.executable, str(packages_of(POETRY) / "pip"), "config", "list")
    settings = {}
    for section in ("global", "install", ":env:"):
        for name, value in re.findall(rf"^{section}\.(\S+?)=(.+)$", listed, re.M):
            settings[name] = ast.literal_eval(value)
    env = {**INHERITED, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    bundle = settings.get("cert") or env.get("SSL_CERT_FILE")
    if bundle:
        env.setdefault("REQUESTS_CA_BUNDLE", bundle)
    index = env.get("POETRY_PYPI_MIRROR_URL") or settings.get("index-url")
    if not index:
        default = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
        index = ask(*python(POETRY, "-c", default))
    if not settings.get("index-url"):
        env["PIP_INDEX_URL"] = index
    env["POETRY_PYPI_MIRROR_URL"], *_ = split(index)
    # Other indexes have a name in pyproject.toml, and their credentials in pip's extra-index-url.
    indexes = {"pypi": env["POETRY_PYPI_MIRROR_URL"], **named_indexes()}
    for each in (index, *settings.get("extra-index-url", "").split()):
        address, user, password = split(each)
        for name, url in indexes.items():
            if user and url.rstrip("/") == address.rstrip("/"):
                # Beside the URL they also count for files elsewhere on that host, and never show.
                variable = f"POETRY_HTTP_BASIC_{name.upper().replace('-', '_')}"
                env[f"{variable}_USERNAME"], env[f"{variable}_PASSWORD"] = user, password
    return env


def named_indexes() -> dict[str, str]:
    """Return name and address of each package index that pyproject.toml names."""
    try:
        tables = tomllib.loads(read(ROOT / "pyproject.toml"))
    except tomllib.TOMLDecodeError as error:
        raise BootstrapError(f"pyproject.toml is not readable: {error}: correct it") from None
    sources = tables.get("tool", {}).get("poetry", {}).get("source", [])
    # Poetry knows the address of PyPI.
    return {each["name"]: each["url"] for each in sources if "url" in each}


def split(index: str) -> tuple[str, str, str]:
    """Return the address of an index without its credentials, then user and password."""
    url = urlsplit(index)
    credentials, _, host = url.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    return url._replace(netloc=host).geturl(), unquote(user), unquote(password)


def make_environment(folder: Path, prompt: str) -> None:
    """Make an empty virtual environment with this Python, in place of what is there."""
    venv.create(folder, clear=True, symlinks=not WINDOWS, prompt=prompt)


def ensure_poetry(verbose: bool) -> None:
    """Have the pinned Poetry, apart from the project's packages."""
    stamp = POETRY / "bootstrap.stamp"
    if read(stamp) == str(PINS) and version_of(POETRY):
        return
    make_environment(POETRY, "poetry")
    unpack_pip(POETRY)
    # Compiling all of Poetry takes longer than compiling what it uses when it first runs.
    pip = python(POETRY, "-m", "pip", "install", "--no-input", "--no-compile", *PINS)
    run("Poetry in .poetry", pip, verbose)
    stamp.write_text(str(PINS), "utf-8")


def forget_what_differs() -> None:
    """Remove the metadata of packages that Poetry takes for installed although they are not.

    It compares versions alone: a wheel of `vendor/` with other content would stay.
    """
    locked = read(ROOT / "poetry.lock")
    for wheel in (ROOT / "vendor").glob("*.whl"):
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if f'"{wheel.name}"' in locked and digest not in locked:
            raise BootstrapError(
                f"vendor/{wheel.name} does not have the hash that poetry.lock names: take both from"
                " one commit, git checkout pyproject.toml poetry.lock vendor"
            )
    for metadata in packages_of(VENV).glob("*.dist-info"):
        origin = read(metadata / "direct_url.json")
        installed_from = re.findall('sha256[":= ]+([0-9a-f]{64})', origin)
        # RECORD is written last: without it a run was cut off.
        record = read(metadata / "RECORD")
        if not record or any(each not in locked for each in installed_from):
            # A module that only the old wheel has could still be imported.
            for line in record.splitlines():
                (metadata.parent / line.partition(",")[0]).unlink(missing_ok=True)
            shutil.rmtree(metadata)


def ensure_packages(verbose: bool) -> bool:
    """Have the locked packages in `.venv/`; tell whether there was anything to do."""
    if not (ROOT / "poetry.lock").is_file():
        raise BootstrapError("poetry.lock is missing: git checkout poetry.lock")
    digest = hashlib.sha256(VERSION.encode())
    for name in ("bootstrap.py", "pyproject.toml", "poetry.lock", ".pre-commit-config.yaml"):
        digest.update(read(ROOT / name).encode())
    for wheel in sorted((ROOT / "vendor").glob("*.whl")):
        digest.update(wheel.read_bytes())
    stamp = VENV / "bootstrap.stamp"
    made_in, _, finished = (read(stamp) or str(ROOT)).partition("\n")
    version = version_of(VENV)
    if made_in != str(ROOT) or version != VERSION:
        if VENV.exists():
            why = f"it has Python {version}" if version else "its Python is gone"
            why = why if made_in == str(ROOT) else f"it was made in {made_in}"
            print(f".venv is made again with Python {VERSION}, with locked packages only: {why}")
        make_environment(VENV, ROOT.name)
    elif finished == digest.hexdigest():
        return False
    # If this run is killed, the next one must not take a stamp of before for its own.
    stamp.write_text(str(ROOT), "utf-8")
    forget_what_differs()
    # Not `sync`, which would take away what someone is trying out. -v: with the cause of failures.
    poetry = python(POETRY, "-m", "poetry", "install", "--no-interaction", "-v")
    run("Locked packages in .venv", poetry, verbose)
    stamp.write_text(f"{ROOT}\n{digest.hexdigest()}", "utf-8")
    return True


def ensure_hooks(changed: bool, verbose: bool) -> bool:
    """Have the git hooks or say why not; tell whether they were installed now."""
    if not (ROOT / ".pre-commit-config.yaml").is_file():
        return False
    places = ("--show-toplevel", "--git-path", "hooks", "--git-common-dir")
    try:
        top, hooks, git = ask("git", "rev-parse", *places).split("\n")
    except FileNotFoundError:
        obstacle = f"there is no git: install it, then run {AGAIN}"
    except BootstrapError as error:
        obstacle = f"{error} (git init, for a new folder), then run {AGAIN}"
    else:
        if not ROOT.samefile(top):
            obstacle = f"this folder is part of {top}, whose hooks can call poe check"
        elif Path(hooks) != Path(git, "hooks"):
            obstacle = f"git has core.hooksPath = {hooks}, whose hooks can call poe check"
        elif not changed and str(VENV) in read(ROOT / hooks / "pre-commit"):
            return False
        else:
            run("Git hooks", python(VENV, "-m", "pre_commit", "install"), verbose)
            return True
    print(f"Git hooks not installed: {obstacle}")
    return False


def hand_over(arguments: list[str]) -> int:
    """Give the terminal to Poetry; give back its exit status."""
    command = python(POETRY, "-m", "poetry", *arguments)
    with subprocess.Popen(command, cwd=ROOT, env=environment()) as process:
        while True:
            # Ctrl-C is Poetry's to answer.
            with contextlib.suppress(KeyboardInterrupt):
                return process.wait()


def main() -> int:
    """Read the command line; turn what can go wrong into one line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"{AGAIN} poetry add lightgbm: change what is locked"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show the output of each step")
    parser.add_argument("command", nargs="?", choices=["poetry"], help="run this Poetry instead")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="what Poetry is to do")
    options = parser.parse_args()
    started = time.monotonic()
    try:
        if options.command:
            with contextlib.redirect_stdout(sys.stderr):
                ensure_poetry(options.verbose)
            return hand_over(options.arguments)
        ensure_poetry(options.verbose)
        changed = ensure_packages(options.verbose)
        changed = ensure_hooks(changed, options.verbose) or changed
    except (BootstrapError, OSError) as error:
        line = explain(str(error)) if isinstance(error, OSError) else ""
        print(f"error: {line or error}, then run {AGAIN}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nstopped: run {AGAIN} to go on from here", file=sys.stderr)
        return 130
    activate = r".venv\Scripts\activate" if WINDOWS else "source .venv/bin/activate"
    state = f"Ready in {time.monotonic() - started:.1f} s" if changed else "All is in place"
    print(f"{state}. Next: {activate}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""bootstrap.py in real runs: a small project, installed from an index on this machine."""

import ast
import base64
import errno
import hashlib
import os
import re
import runpy
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from pathlib import Path

import pytest

from tests.conftest import cut_off, moments, without_root_power

TEMPLATE = Path(__file__).parents[2] / "{{cookiecutter.project_slug}}"
NOWHERE = "http://127.0.0.1:9"
WORD = uuid.uuid4().hex
PYPROJECT = """\
[project]
name = "late-trains"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["timetable>=1"]

[dependency-groups]
lint = ["pre-commit>=4"]

[tool.poetry]
packages = [{ include = "late_trains", from = "src" }]

[build-system]
requires = ["poetry-core"]
build-backend = "poetry.core.masonry.api"
"""
HOOKS = """\
default_install_hook_types: [pre-commit, commit-msg]
repos: []
"""


def make_wheel(folder: Path, name: str, version: str = "1.0", **others: str) -> Path:
    """Write a wheel with one module, and others by name and text."""
    information = f"{name}-{version}.dist-info"
    files = {
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{information}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{name}.py": f"VERSION = '{version}'\n",
    }
    files |= {f"{other}.py": text for other, text in others.items()}
    names = [*files, f"{information}/RECORD"]
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(names[-1], "".join(f"{path},,\n" for path in names))
    return wheel


class Index:
    """A PEP 503 index of a folder of wheels, on loopback."""

    def __init__(self, wheels: Path, credentials: str = "", context: ssl.SSLContext | None = None):
        self.asked: list[str] = []
        self.stalled, self.resume = threading.Event(), threading.Event()
        self.stall_on = "nothing"
        digests = {
            wheel.name: hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in wheels.iterdir()
        }
        expected = f"Basic {base64.b64encode(credentials.encode()).decode()}"
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.asked.append(self.path)
                name = self.path.rstrip("/").rpartition("/")[2]
                if credentials and self.headers["Authorization"] != expected:
                    self.send_error(401)
                elif name in digests:
                    self.answer((wheels / name).read_bytes(), "application/zip")
                else:
                    # Links with the full address carry no credentials of their own.
                    links = [
                        f'<a href="{index.origin}/files/{wheel}#sha256={digest}">{wheel}</a>'
                        for wheel, digest in digests.items()
                        if re.sub("[._]", "-", wheel.partition("-")[0]).lower() == name
                    ]
                    if links:
                        self.answer("\n".join(links).encode(), "text/html")
                    else:
                        self.send_error(404)

            def answer(self, body: bytes, kind: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                half = len(body) // 2
                self.wfile.write(body[:half])
                if index.stall_on in self.path and kind == "application/zip":
                    self.wfile.flush()
                    index.stalled.set()
                    index.resume.wait(60)
                self.wfile.write(body[half:])

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.origin = f"{'https' if context else 'http'}://{self.host}"
        self.url = f"{self.origin}/simple"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.resume.set()
        self.server.shutdown()
        self.server.server_close()


class Clone:
    """A clone of the small project, on a machine where nothing but `index` answers."""

    def __init__(self, root: Path, index: Index) -> None:
        self.root, self.folder = root, root / "late trains"
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(root / "home"),
            "TMPDIR": str(root / "tmp"),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": index.url,
            "PIP_RETRIES": "1",
            "HTTP_PROXY": NOWHERE,
            "HTTPS_PROXY": NOWHERE,
            "NO_PROXY": "127.0.0.1",
        }
        for folder in (root / "home", root / "tmp", self.folder / "src" / "late_trains"):
            folder.mkdir(parents=True)
        for name in ("bootstrap.py", "poetry.toml"):
            shutil.copy(TEMPLATE / name, self.folder)
        self.write("src/late_trains/__init__.py", "")
        self.write("pyproject.toml", PYPROJECT)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def run(self, *command: str | Path, before: Callable[[], None] | None = None) -> "Run":
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            preexec_fn=before,
        )
        return Run(done.returncode, done.stdout)

    def bootstrap(self, *arguments: str, before: Callable[[], None] | None = None) -> "Run":
        return self.run(sys.executable, "bootstrap.py", *arguments, before=before)

    def start(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "bootstrap.py"],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def python(self, code: str) -> "Run":
        return self.run(self.folder / ".venv/bin/python", "-c", code)

    @property
    def packages(self) -> Path:
        return next((self.folder / ".venv/lib").glob("python*/site-packages"))


class Run:
    """Exit status and output of a command."""

    def __init__(self, status: int, output: str) -> None:
        self.status, self.output = status, output

    @property
    def error(self) -> str:
        """The one line that says what is wrong; there must be no other."""
        assert self.status == 1, self.output
        assert "Traceback" not in self.output
        lines = [line for line in self.output.splitlines() if line.startswith("error: ")]
        assert lines == self.output.splitlines()[-1:], self.output
        return lines[0]

    def __repr__(self) -> str:
        return f"exit {self.status}\n{self.output}"


@pytest.fixture(scope="session")
def poetry_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`.poetry/` as bootstrap.py makes it with the settings of this machine."""
    folder = tmp_path_factory.mktemp("poetry")
    shutil.copy(TEMPLATE / "bootstrap.py", folder)
    command = [sys.executable, "bootstrap.py", "poetry", "--version"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert "Poetry (version 2.5.1)" in done.stdout, done.stdout + done.stderr
    return folder / ".poetry"


@pytest.fixture(scope="session")
def wheels(poetry_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every wheel that these tests install."""
    folder = tmp_path_factory.mktemp("wheels")
    pins = ["poetry==2.5.1", "poetry-plugin-pypi-mirror==0.6.5", "pre-commit>=4", "poetry-core"]
    pins.append("poethepoet>=0.49")
    download = ("-m", "pip", "download", "--quiet", "--only-binary=:all:", "--dest", folder)
    subprocess.run([poetry_folder / "bin/python", *download, *pins], check=True)
    make_wheel(folder, "timetable")
    return folder


@pytest.fixture
def index(wheels: Path) -> Iterator[Index]:
    served = Index(wheels)
    yield served
    served.stop()


@pytest.fixture(scope="session")
def lock(
    poetry_folder: Path, wheels: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """poetry.lock of the small project, made by Poetry."""
    served = Index(wheels)
    clone = Clone(tmp_path_factory.mktemp("lock"), served)
    (clone.folder / ".poetry").symlink_to(poetry_folder)
    locked = clone.bootstrap("poetry", "lock")
    assert locked.status == 0, locked
    yield clone.folder / "poetry.lock"
    served.stop()


@pytest.fixture
def fresh(tmp_path: Path, index: Index, lock: Path) -> Clone:
    """A clone in which nothing has run yet."""
    clone = Clone(tmp_path, index)
    shutil.copy(lock, clone.folder)
    clone.write(".pre-commit-config.yaml", HOOKS)
    clone.run("git", "init", "--quiet")
    return clone


@pytest.fixture
def clone(fresh: Clone, poetry_folder: Path) -> Clone:
    """A clone that has its Poetry already, to save the time."""
    (fresh.folder / ".poetry").symlink_to(poetry_folder)
    return fresh


def files_of(folder: Path) -> dict[Path, int]:
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_fresh_clone_gets_poetry_packages_and_hooks(fresh: Clone) -> None:
    done = fresh.bootstrap()
    assert done.status == 0, done
    steps = [line.partition(" ... ")[0] for line in done.output.splitlines()]
    assert steps[:3] == ["Poetry in .poetry", "Locked packages in .venv", "Git hooks"]
    assert "source .venv/bin/activate" in steps[3]
    assert fresh.python("import late_trains, timetable, pre_commit").status == 0
    for hook in ("pre-commit", "commit-msg"):
        assert os.access(fresh.folder / ".git/hooks" / hook, os.X_OK)


def test_second_run_installs_nothing(clone: Clone, index: Index) -> None:
    assert clone.bootstrap().status == 0
    before = files_of(clone.folder), len(index.asked)
    again = clone.bootstrap()
    assert again.status == 0
    assert "..." not in again.output
    assert (files_of(clone.folder), len(index.asked)) == before


def test_changed_lock_is_installed(clone: Clone, wheels: Path) -> None:
    clone.bootstrap()
    make_wheel(wheels, "platform_list")
    newer = Index(wheels)
    clone.env["PIP_INDEX_URL"] = newer.url
    assert clone.bootstrap("poetry", "add", "--lock", "platform-list").status == 0
    done = clone.bootstrap()
    newer.stop()
    assert "Locked packages in .venv ... " in done.output, done
    assert clone.python("import platform_list").status == 0


VENDORED = """
[tool.poetry.dependencies]
platform-list = { path = "vendor/platform_list-1.0-py3-none-any.whl" }
"""


def vendor(clone: Clone, word: str) -> str:
    """Put a wheel of one name and version, but with a module of its own, into `vendor/`."""
    folder = clone.folder / "vendor"
    folder.mkdir(exist_ok=True)
    modules = {"platform_word": f"WORD = {word!r}\n", f"platform_{word}": ""}
    wheel = make_wheel(folder, "platform_list", **modules)
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def test_a_vendored_wheel_with_other_content_is_installed_again(clone: Clone) -> None:
    settings = PYPROJECT.replace('["timetable>=1"]', '["timetable>=1", "platform-list==1.0"]')
    clone.write("pyproject.toml", settings + VENDORED)
    said = "import platform_word; print(platform_word.WORD)"
    first = vendor(clone, "first")
    assert clone.bootstrap("poetry", "lock").status == 0
    assert clone.bootstrap().status == 0
    assert clone.python(said).output == "first\n"
    # The version is the same: Poetry would say "No dependencies to install", and keep the first.
    second = vendor(clone, "second")
    lock = clone.folder / "poetry.lock"
    lock.write_text(lock.read_text().replace(first, second))
    assert clone.bootstrap().status == 0
    assert clone.python(said).output == "second\n"
    assert clone.python("import platform_second").status == 0
    assert "No module named 'platform_first'" in clone.python("import platform_first").output
    assert "..." not in clone.bootstrap().output


def test_a_vendored_wheel_that_the_lock_does_not_name_is_refused(clone: Clone) -> None:
    assert clone.bootstrap().status == 0
    vendor(clone, "unlocked")
    # No package of this project.
    assert clone.bootstrap().status == 0
    with (clone.folder / "poetry.lock").open("a") as lock:
        lock.write('# "platform_list-1.0-py3-none-any.whl"\n')
    line = clone.bootstrap().error
    assert "vendor/platform_list-1.0-py3-none-any.whl does not have the hash that poetry" in line
    assert "git checkout pyproject.toml poetry.lock vendor" in line


def test_package_added_by_hand_survives(clone: Clone, tmp_path: Path) -> None:
    clone.bootstrap()
    zipfile.ZipFile(make_wheel(tmp_path, "tried_out")).extractall(clone.packages)
    clone.write("pyproject.toml", PYPROJECT + "\n# Anything else.\n")
    assert "Locked packages in .venv ... " in clone.bootstrap().output
    assert clone.python("import tried_out").status == 0


def test_killed_while_poetry_is_made_is_put_right(fresh: Clone, index: Index) -> None:
    index.stall_on = "poetry-2.5.1"
    first = fresh.start()
    assert index.stalled.wait(60)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    index.stall_on = "nothing"
    assert (fresh.folder / ".poetry/bin/python").exists()
    done = fresh.bootstrap()
    assert done.status == 0, done
    assert "Poetry in .poetry ... " in done.output


def test_killed_while_packages_are_fetched_is_put_right(clone: Clone, index: Index) -> None:
    index.stall_on = "pre_commit-"
    first = clone.start()
    assert index.stalled.wait(60)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    index.stall_on = "nothing"
    done = clone.bootstrap()
    assert done.status == 0, done
    assert clone.python("import timetable, pre_commit").status == 0


def test_a_killed_change_that_was_taken_back_is_installed_again(clone: Clone) -> None:
    assert clone.bootstrap().status == 0
    stamp = clone.folder / ".venv/bootstrap.stamp"
    clone.write("pyproject.toml", f"{PYPROJECT}\n# A change.\n")
    changing = clone.start()
    while "\n" in stamp.read_text():
        assert changing.poll() is None
        time.sleep(0.005)
    os.killpg(changing.pid, signal.SIGKILL)
    changing.communicate()
    clone.write("pyproject.toml", PYPROJECT)
    assert "Locked packages in .venv ... " in clone.bootstrap().output
    assert clone.python("import timetable, pre_commit").status == 0


def test_stopped_at_any_moment_is_put_right(fresh: Clone) -> None:
    command = [sys.executable, "bootstrap.py"]
    signals = cycle([signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
    for after, sent in zip(moments(16, 4), signals, strict=False):
        cut_off(command, after, sent, cwd=fresh.folder, env=fresh.env)
    done = fresh.bootstrap()
    assert done.status == 0, done
    # Each file that a package says it has is there.
    missing = (
        "from importlib.metadata import distributions;"
        "print([str(f) for d in distributions() for f in d.files if not f.locate().exists()])"
    )
    assert fresh.python(missing).output == "[]\n"
    assert fresh.python("import late_trains, timetable, pre_commit").status == 0
    assert os.access(fresh.folder / ".git/hooks/pre-commit", os.X_OK)
    assert "..." not in fresh.bootstrap().output


def test_package_that_was_half_installed_is_installed_again(clone: Clone) -> None:
    clone.bootstrap()
    for name in ("timetable.py", "timetable-1.0.dist-info/RECORD"):
        (clone.packages / name).unlink()
    (clone.folder / ".venv/bootstrap.stamp").unlink()
    assert clone.bootstrap().status == 0
    assert clone.python("import timetable").status == 0


def test_ctrl_c_prints_one_line_and_the_next_run_goes_on(clone: Clone, index: Index) -> None:
    index.stall_on = "timetable-1.0"
    first = clone.start()
    assert index.stalled.wait(60)
    os.killpg(first.pid, signal.SIGINT)
    output, _ = first.communicate(timeout=60)
    index.stall_on = "nothing"
    assert first.returncode == 130, output
    assert output.splitlines()[-1].startswith("stopped: run ")
    assert "Traceback" not in output
    assert clone.bootstrap().status == 0


def test_venv_without_its_interpreter_is_made_again(clone: Clone) -> None:
    clone.bootstrap()
    python = clone.folder / ".venv/bin/python"
    python.unlink()
    python.symlink_to(clone.root / "uninstalled")
    done = clone.bootstrap()
    assert done.status == 0, done
    assert "its Python is gone" in done.output
    assert clone.python("import timetable").status == 0


def test_venv_of_another_python_is_made_again(clone: Clone) -> None:
    clone.bootstrap()
    python = clone.folder / ".venv/bin/python"
    python.unlink()
    python.write_text("#!/bin/sh\necho 3.10\n")
    python.chmod(0o755)
    done = clone.bootstrap()
    assert done.status == 0, done
    assert "it has Python 3.10" in done.output
    assert clone.python("import timetable").status == 0


def test_moved_project_gets_commands_that_run(clone: Clone) -> None:
    clone.bootstrap()
    old, clone.folder = clone.folder, clone.root / "moved"
    old.rename(clone.folder)
    done = clone.bootstrap()
    assert f"it was made in {old}" in done.output
    assert clone.run(".venv/bin/pre-commit", "--version").status == 0
    assert str(clone.folder) in (clone.folder / ".git/hooks/pre-commit").read_text()


def test_active_environment_and_personal_settings_lead_nowhere_else(clone: Clone) -> None:
    other = clone.root / "other"
    clone.run(sys.executable, "-m", "venv", "--without-pip", other)
    before = files_of(other)
    (clone.root / "poetry.py").write_text("raise SystemExit('the wrong Poetry')")
    clone.env |= {
        "VIRTUAL_ENV": str(other),
        "CONDA_PREFIX": str(other),
        "PYTHONPATH": str(clone.root),
        "POETRY_VIRTUALENVS_CREATE": "false",
        "POETRY_VIRTUALENVS_IN_PROJECT": "false",
        "GIT_DIR": str(other / ".git"),
    }
    done = clone.bootstrap()
    assert done.status == 0, done
    assert (clone.packages / "timetable.py").exists()
    assert (clone.folder / ".git/hooks/pre-commit").exists()
    assert files_of(other) == before


def test_credentials_of_the_index_work_and_never_show(fresh: Clone, wheels: Path) -> None:
    index = Index(wheels, credentials=f"ann@team:{WORD}/ {WORD}")
    fresh.env["PIP_INDEX_URL"] = index.url.replace("//", f"//ann%40team:{WORD}%2F%20{WORD}@")
    done = fresh.bootstrap("--verbose")
    index.stop()
    assert done.status == 0, done
    assert any("poetry-2.5.1" in path for path in index.asked)
    assert any("timetable" in path for path in index.asked)
    assert WORD not in done.output
    for path in files_of(fresh.root):
        assert WORD.encode() not in path.read_bytes(), path


def test_credentials_of_a_named_index_are_those_that_pip_has_for_it(
    clone: Clone, tmp_path: Path
) -> None:
    (tmp_path / "company").mkdir()
    make_wheel(tmp_path / "company", "platform_list")
    company = Index(tmp_path / "company", credentials=f"ann:{WORD}")
    source = f'[[tool.poetry.source]]\nname = "our-own"\nurl = "{company.url}/"\n'
    origin = '[tool.poetry.dependencies]\nplatform-list = { source = "our-own" }\n'
    settings = PYPROJECT.replace('["timetable>=1"]', '["timetable>=1", "platform-list==1.0"]')
    clone.write("pyproject.toml", f'{settings}\n{origin}\n{source}priority = "explicit"\n')
    assert clone.bootstrap("poetry", "lock").status == 1
    clone.env["PIP_EXTRA_INDEX_URL"] = company.url.replace("//", f"//ann:{WORD}@")
    assert clone.bootstrap("poetry", "lock").status == 0
    assert clone.bootstrap().status == 0
    company.stop()
    assert clone.python("import platform_list").status == 0
    assert WORD not in (clone.folder / "poetry.lock").read_text()


def test_an_index_of_two_names_gets_its_credentials_under_both(clone: Clone, wheels: Path) -> None:
    index = Index(wheels, credentials=f"ann:{WORD}")
    source = f'[[tool.poetry.source]]\nname = "our-own"\nurl = "{index.url}"\n'
    # Poetry knows the address of this one.
    source += 'priority = "explicit"\n[[tool.poetry.source]]\nname = "PyPI"\n'
    origin = '[tool.poetry.dependencies]\ntimetable = { source = "our-own" }\n'
    clone.write("pyproject.toml", f"{PYPROJECT}\n{origin}\n{source}")
    clone.env["PIP_INDEX_URL"] = index.url.replace("//", f"//ann:{WORD}@")
    done = clone.bootstrap("poetry", "lock")
    assert done.status == 0, done
    assert clone.bootstrap().status == 0
    index.stop()


def test_settings_that_are_no_toml_are_named(clone: Clone) -> None:
    clone.write("pyproject.toml", f"{PYPROJECT}\n[half\n")
    assert "pyproject.toml is not readable: Expected" in clone.bootstrap().error


@pytest.mark.parametrize(
    ("variables", "configuration"),
    [
        ({"POETRY_PYPI_MIRROR_URL": "{index}", "PIP_INDEX_URL": NOWHERE}, ""),
        ({"PIP_INDEX_URL": "{index}"}, f"[global]\nindex-url = {NOWHERE}"),
        ({}, f"[global]\nindex-url = {NOWHERE}\n[install]\nindex-url = {{index}}"),
        ({}, "[global]\nindex-url = {index}"),
    ],
)
def test_poetry_asks_the_index_of_pip(
    clone: Clone, index: Index, variables: dict[str, str], configuration: str
) -> None:
    del clone.env["PIP_CONFIG_FILE"], clone.env["PIP_INDEX_URL"]
    clone.env |= {name: value.format(index=index.url) for name, value in variables.items()}
    settings = clone.root / "home/.config/pip/pip.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text(configuration.format(index=index.url))
    done = clone.bootstrap()
    assert done.status == 0, done
    assert "/simple/timetable/" in index.asked


def test_index_known_to_poetry_alone_is_asked_for_poetry_too(fresh: Clone, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    index = Index(tmp_path / "none")
    del fresh.env["PIP_INDEX_URL"]
    fresh.env["POETRY_PYPI_MIRROR_URL"] = index.url
    done = fresh.bootstrap()
    index.stop()
    assert index.asked == ["/simple/poetry/"]
    assert "the package index 127.0.0.1 has no poetry==2.5.1" in done.error


def test_index_of_an_active_environment_counts(clone: Clone, index: Index) -> None:
    other = clone.root / "other"
    clone.run(sys.executable, "-m", "venv", "--without-pip", other)
    (other / "pip.conf").write_text(f"[global]\nindex-url = {index.url}")
    del clone.env["PIP_CONFIG_FILE"], clone.env["PIP_INDEX_URL"]
    done = clone.run(other / "bin/python", "bootstrap.py")
    assert done.status == 0, done
    assert "/simple/timetable/" in index.asked


@pytest.fixture
def https_index(wheels: Path, tmp_path: Path) -> Iterator[tuple[Index, Path]]:
    """An index with a certificate that only its own file vouches for."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    request = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=loopback".split()
    files = ("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate)
    subprocess.run([*request, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    served = Index(wheels, context=context)
    yield served, certificate
    served.stop()


@pytest.mark.parametrize("variable", ["PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_certificates_of_pip_count_for_poetry(
    clone: Clone, https_index: tuple[Index, Path], variable: str
) -> None:
    clone.env |= {"PIP_INDEX_URL": https_index[0].url, variable: str(https_index[1])}
    done = clone.bootstrap()
    assert done.status == 0, done


def test_unknown_certificate_is_named(clone: Clone, https_index: tuple[Index, Path]) -> None:
    clone.env["PIP_INDEX_URL"] = https_index[0].url
    assert "certificate of the package index 127.0.0.1 is not trusted: set PIP_CERT" in (
        clone.bootstrap().error
    )


def test_wrong_credentials_are_named(clone: Clone, wheels: Path) -> None:
    index = Index(wheels, credentials=f"ann:{WORD}")
    clone.env["PIP_INDEX_URL"] = index.url.replace("//", f"//ann:{WORD[::-1]}@")
    done = clone.bootstrap()
    index.stop()
    assert "127.0.0.1 refuses access: put valid credentials into PIP_INDEX_URL" in done.error
    assert WORD[::-1] not in done.output


@pytest.mark.parametrize("has_poetry", [False, True])
def test_unreachable_index_is_named(fresh: Clone, poetry_folder: Path, has_poetry: bool) -> None:
    if has_poetry:
        (fresh.folder / ".poetry").symlink_to(poetry_folder)
    fresh.env["PIP_INDEX_URL"] = f"{NOWHERE}/simple"
    assert "no answer from the package index 127.0.0.1: check the network" in (
        fresh.bootstrap().error
    )


def test_index_without_a_locked_package_is_named(clone: Clone, tmp_path: Path) -> None:
    (tmp_path / "few").mkdir()
    index = Index(tmp_path / "few")
    clone.env["PIP_INDEX_URL"] = index.url
    done = clone.bootstrap()
    index.stop()
    assert "the package index 127.0.0.1 has no " in done.error


def test_file_that_differs_from_the_lock_is_refused(clone: Clone) -> None:
    lock = (clone.folder / "poetry.lock").read_text()
    start = lock.index("sha256:", lock.index('name = "timetable"')) + len("sha256:")
    clone.write("poetry.lock", lock[:start] + "0" * 64 + lock[start + 64 :])
    assert "does not match its hash in poetry.lock" in clone.bootstrap().error
    assert not (clone.packages / "timetable.py").exists()


@pytest.mark.parametrize("has_poetry", [False, True])
def test_missing_write_permission_is_named(
    fresh: Clone, poetry_folder: Path, has_poetry: bool
) -> None:
    if has_poetry:
        (fresh.folder / ".poetry").symlink_to(poetry_folder)
    fresh.folder.chmod(0o555)
    done = fresh.bootstrap(before=without_root_power)
    fresh.folder.chmod(0o755)
    assert f"no permission to write {fresh.folder}" in done.error


def test_missing_write_permission_for_packages_is_named(clone: Clone) -> None:
    clone.bootstrap()
    clone.packages.chmod(0o555)
    make_again = ("timetable-1.0.dist-info", "timetable.py")
    (clone.packages / make_again[1]).unlink()
    shutil.rmtree(clone.packages / make_again[0])
    clone.write("pyproject.toml", PYPROJECT + "\n# Anything else.\n")
    done = clone.bootstrap(before=without_root_power)
    clone.packages.chmod(0o755)
    assert "no permission to write " in done.error


def test_full_disk_is_named() -> None:
    # Run, not imported: an import would leave its bytecode in the template.
    explain = runpy.run_path(str(TEMPLATE / "bootstrap.py"))["explain"]
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "some.file")
    assert explain(str(full)).startswith("the disk is full")


def pretend(statement: str) -> tuple[str, str]:
    return "-c", f"import runpy, sys; {statement}; runpy.run_path('bootstrap.py', {{}}, '__main__')"


@pytest.mark.parametrize("version", [(3, 8, 18), (3, 10, 1)])
def test_old_python_is_turned_away(fresh: Clone, version: tuple[int, ...]) -> None:
    done = fresh.run(sys.executable, *pretend(f"sys.version_info = {version}"))
    assert f"this is Python 3.{version[1]}, and 3.11 or newer is needed" in done.error
    assert not (fresh.folder / ".poetry").exists()


def test_old_python_can_read_the_file_that_turns_it_away() -> None:
    ast.parse((TEMPLATE / "bootstrap.py").read_text(), feature_version=(3, 7))


def test_python_that_the_project_excludes_is_named(clone: Clone) -> None:
    clone.write("pyproject.toml", PYPROJECT.replace(">=3.11", ">=3.99"))
    assert "but pyproject.toml requires >=3.99" in clone.bootstrap().error


def test_missing_ensurepip_is_named(fresh: Clone) -> None:
    done = fresh.run(sys.executable, *pretend("sys.modules['ensurepip'] = None"))
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert f"the package python{version}-venv" in done.error


def test_outdated_lock_is_mended_by_the_command_that_is_named(clone: Clone) -> None:
    clone.write("pyproject.toml", PYPROJECT.replace("timetable>=1", "timetable>=1,<2"))
    error = clone.bootstrap().error
    assert "poetry.lock does not match pyproject.toml: run " in error
    command = error.partition(": run ")[2].partition(",")[0].split()
    assert command[1:] == ["bootstrap.py", "poetry", "lock"]
    assert clone.run(sys.executable, *command[1:]).status == 0
    assert clone.bootstrap().status == 0


def test_broken_configuration_of_pip_is_named_without_credentials(clone: Clone) -> None:
    broken = clone.root / "pip.conf"
    broken.write_text(f"[global]\n= http://ann:{WORD}@127.0.0.1\n")
    clone.env["PIP_CONFIG_FILE"] = str(broken)
    error = clone.bootstrap().error
    assert str(broken) in error
    assert ": fix that, then run " in error
    assert WORD not in error


def test_missing_lock_is_named(clone: Clone) -> None:
    (clone.folder / "poetry.lock").unlink()
    assert "poetry.lock is missing" in clone.bootstrap().error


def test_unknown_failure_shows_what_poetry_said(clone: Clone) -> None:
    shutil.rmtree(clone.folder / "src")
    done = clone.bootstrap()
    assert "late_trains does not contain any element" in done.output, done
    assert "Locked packages in .venv: see the error above" in done.error


def in_no_repository(clone: Clone) -> str:
    shutil.rmtree(clone.folder / ".git")
    return "fix that (git init, for a new folder)"


def in_a_monorepo(clone: Clone) -> str:
    shutil.rmtree(clone.folder / ".git")
    subprocess.run(["git", "init", "--quiet", clone.root], check=True)
    return f"this folder is part of {clone.root}"


def without_git(clone: Clone) -> str:
    clone.env["PATH"] = str(clone.root / "home")
    return "there is no git: install it"


def with_hooks_elsewhere(clone: Clone) -> str:
    clone.run("git", "config", "core.hooksPath", str(clone.root / "hooks"))
    return f"git has core.hooksPath = {clone.root / 'hooks'}"


@pytest.mark.parametrize(
    "obstacle", [in_no_repository, in_a_monorepo, without_git, with_hooks_elsewhere]
)
def test_hooks_that_cannot_be_installed_are_one_line(
    clone: Clone, obstacle: Callable[[Clone], str]
) -> None:
    reason = obstacle(clone)
    done = clone.bootstrap()
    assert done.status == 0, done
    lines = [line for line in done.output.splitlines() if "Git hooks" in line]
    assert len(lines) == 1
    assert lines[0].startswith("Git hooks not installed: ")
    assert reason in lines[0]
    assert not list(clone.root.glob("**/hooks/pre-commit"))


def test_hooks_are_installed_once_the_folder_is_a_repository(clone: Clone) -> None:
    in_no_repository(clone)
    clone.bootstrap()
    clone.run("git", "init", "--quiet")
    done = clone.bootstrap()
    assert "Git hooks ... " in done.output
    assert "Locked packages" not in done.output


def test_poetry_of_the_project_runs_with_arguments_and_exit_status(clone: Clone) -> None:
    version = clone.bootstrap("poetry", "--version")
    assert (version.status, version.output) == (0, "Poetry (version 2.5.1)\n")
    shown = clone.bootstrap("poetry", "show", "--no-such-option")
    assert shown.status != 0
    assert "--no-such-option" in shown.output


def test_own_poetry_of_the_user_installs_as_well(
    fresh: Clone, index: Index, poetry_folder: Path
) -> None:
    fresh.env["POETRY_PYPI_MIRROR_URL"] = index.url
    done = fresh.run(poetry_folder / "bin/poetry", "install", "--no-interaction")
    assert done.status == 0, done
    assert fresh.python("import late_trains, timetable").status == 0


def test_help_names_both_uses(fresh: Clone) -> None:
    done = fresh.bootstrap("--help")
    assert done.status == 0
    assert "git hooks" in done.output
    assert "bootstrap.py poetry add" in done.output

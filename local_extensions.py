"""Quote answers wherever they are written, and refuse bad ones before anything is written."""

import atexit
import contextlib
import functools
import json
import keyword
import os
import re
import sys
import tomllib
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import click
from cookiecutter import generate
from cookiecutter.exceptions import OutputDirExistsException
from cookiecutter.utils import rmtree
from jinja2 import Environment
from jinja2.ext import Extension
from jinja2.runtime import Context
from slugify import slugify

TEMPLATE = Path(__file__).parent
ROOT_FOLDER = "{{cookiecutter.project_slug}}"
UNFINISHED = "UNFINISHED-BAKE-AGAIN"
DELIMITER = re.compile(r"\{[{%#]")

# Read back differently, or not at all, by one of TOML, YAML, JSON and Python when written as is;
# the marks of writing direction are escaped too, so that a reader sees code in its real order.
UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
MARKUP = re.compile(r"[\\`*_\[\]<>&#|~$]|^[-+=]")

# Where the module of a dependency is not called like its distribution (those are in the lock),
# and what the next frameworks of this template are called.
MODULES = frozenset(
    "a1_coverage antlr4 attr databricks dateutil dotenv engineio fb303 flufl git google"
    " graphql hive_metastore hydra importlinter jupyter lightgbm markdown_it mpl_toolkits"
    " mypyc nacl opentelemetry optuna pip pkg_resources public py pydevd_plugins pylab"
    " pyspark pytest_locust rpds ruamel sagemaker setuptools sitecustomize sklearn socketio"
    " torch usercustomize validate websocket xdist xgboost yaml zc zmq zope".split()
)
# Modules of the standard library in one of 3.11 to 3.14 that the running Python may lack, or keeps
# to itself: `test` would hide a package of that name.
STDLIB = sys.stdlib_module_names | frozenset(
    "aifc annotationlib asynchat asyncore audioop cgi cgitb chunk compression crypt distutils"
    " imghdr imp lib2to3 mailcap msilib nis nntplib ossaudiodev pipes smtpd sndhdr spwd sunau"
    " telnetlib test uu xdrlib".split()
)
ROOMS = frozenset(
    "bootstrap conf conftest container data docs models reports scripts src tests".split()
)
WINDOWS = frozenset(
    ["aux", "con", "nul", "prn", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))]
)


def quote(value: object) -> str:
    """Write a text as a double-quoted string that TOML, YAML, JSON and Python read alike."""
    text = json.dumps(str(value), ensure_ascii=False)
    return UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def markdown(value: object) -> str:
    """Write a text so that Markdown shows it as it is."""
    text = MARKUP.sub(r"\\\g<0>", str(value))
    return re.sub(r"^(\d+)([.)])", r"\1\\\2", text)


def slug(name: object) -> str:
    """Derive a project slug: "Flight Delays" becomes `flight-delays`."""
    derived = (
        slugify(str(name), max_length=48, word_boundary=True, save_order=True).lstrip("-0123456789")
        or "model"
    )
    return derived if _is_slug(derived) else f"{derived[:54].rstrip('-')}-model"


def package(name: object) -> str:
    """Derive a package name from a slug: `flight-delays` becomes `flight_delays`."""
    derived = slug(name).replace("-", "_")[:40].rstrip("_")
    return derived if _is_package(derived) else f"{derived[:34].rstrip('_')}_model"


def library_version() -> str:
    """Return the version of the library, which each project pins."""
    settings = tomllib.loads((TEMPLATE / "pyproject.toml").read_text("utf-8"))
    return str(settings["project"]["version"])


@functools.cache
def _locked() -> frozenset[str]:
    """Names of the locked distributions, as module names."""
    locks = (TEMPLATE / ROOT_FOLDER).glob("*poetry.lock*")
    # The locks are long: a regular expression over them would take a tenth of the bake.
    packages = [each for lock in locks for each in lock.read_text("utf-8").split('\nname = "')[1:]]
    names = {package[: package.index('"')] for package in packages}
    return frozenset(re.sub(r"[-.]+", "_", name).lower() for name in names)


def _matches(pattern: str, limit: int = 0) -> Callable[[str], bool]:
    return lambda text: bool(re.fullmatch(pattern, text)) and (not limit or len(text) <= limit)


def _is_slug(text: str) -> bool:
    return (
        _matches(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", 48)(text)
        and text not in WINDOWS
        and text.replace("-", "_") not in _locked()
    )


def _is_package(text: str) -> bool:
    taken = STDLIB | MODULES | ROOMS | WINDOWS | _locked()
    return (
        _matches("[a-z][a-z0-9_]*", 40)(text)
        and not keyword.iskeyword(text)
        and not keyword.issoftkeyword(text)
        and text not in taken
    )


def _is_line(limit: int) -> Callable[[str], bool]:
    return lambda text: (
        0 < len(text) <= limit
        and text == text.strip()
        and any(letter.isalnum() for letter in text)
        and not any(
            unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"} or letter in "\ufffe\uffff"
            for letter in text
        )
    )


def _is_bucket(text: str) -> bool:
    return not text or (
        _matches(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")(text)
        and ".." not in text
        and not re.fullmatch(r"\d+\.\d+\.\d+\.\d+", text)
        and not text.startswith(("xn--", "sthree-", "amzn-s3-demo-"))
        and not text.endswith(("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"))
    )


_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_LINE = (
    "one line of 1 to {} characters, a letter or digit among them, no control character,"
    " no space at either end"
)
_TEAM = (
    _matches("@[A-Za-z0-9](?:-?[A-Za-z0-9]){0,38}/[A-Za-z0-9][A-Za-z0-9_-]{0,99}"),
    "a team such as @organisation/team",
)
_GROUP = r"[A-Za-z0-9_](?:[.-]?[A-Za-z0-9_])*"
_GITLAB_TEAM = (
    _matches(rf"@{_GROUP}(?:/{_GROUP})*", 255),
    "a group such as @group or @group/subgroup",
)

RULES: dict[str, tuple[Callable[[str], bool], str]] = {
    "project_name": (_is_line(80), _LINE.format(80)),
    "project_slug": (
        _is_slug,
        "a to z, 0 to 9 and single hyphens, a letter first, at most 48 characters,"
        " not the name of a dependency or of a Windows device",
    ),
    "package_name": (
        _is_package,
        "a to z, 0 to 9 and underscores, a letter first, at most 40 characters, not a Python"
        " keyword, nor a module of Python or of a dependency, nor a folder of the project",
    ),
    "description": (_is_line(200), _LINE.format(200)),
    "author_name": (
        lambda text: _is_line(80)(text) and not re.search("[<>]", text),
        f"{_LINE.format(80)}, no < or >, which enclose the address in a package's metadata",
    ),
    "author_email": (
        _matches(rf"{_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+[A-Za-z]{{2,63}}", 254),
        "an e-mail address such as name@example.com",
    ),
    "data_science_team": _TEAM,
    "deployment_team": _TEAM,
    "aws_region": (
        _matches(r"[a-z]{2,4}(?:-[a-z]+){1,3}-[0-9]{1,2}"),
        "a region such as eu-central-1",
    ),
    "artifact_bucket": (
        _is_bucket,
        "empty, or 3 to 63 of a to z, 0 to 9, '.' and '-', a letter or digit at both ends, no '..',"
        " no IP address, no prefix xn--, sthree-, amzn-s3-demo-,"
        " no suffix -s3alias, --ol-s3, .mrap, --x-s3, --table-s3",
    ),
}


def _is_one_of(choices: list[str]) -> Callable[[str], bool]:
    return lambda text: text in choices


# cookiecutter checks choices on the command line, not those of a replayed answer.
for _name, _choices in json.loads((TEMPLATE / "cookiecutter.json").read_text("utf-8")).items():
    if isinstance(_choices, list) and not _name.startswith("_"):
        RULES[_name] = (_is_one_of(_choices), f"one of {', '.join(_choices)}")


def problems(answers: Mapping[str, Any]) -> list[str]:
    """Hold answers against the rules.

    Parameters
    ----------
    answers : mapping
        Name of each question to the answer given.

    Returns
    -------
    list of str
        One line per bad answer: its name, the value got, what is allowed.
    """
    faults = []
    on_gitlab = {name: _GITLAB_TEAM for name in RULES if RULES[name] is _TEAM}
    rules = RULES | (on_gitlab if answers["ci"] == "gitlab-ci" else {})
    for name, (obeys, allowed) in rules.items():
        value = answers[name]
        if not isinstance(value, str):
            allowed = "a text"
        elif DELIMITER.search(value):
            allowed = "a text without {{, {% and {#"
        elif obeys(value):
            continue
        shown = repr(value)
        shown = shown if len(shown) <= 100 else shown[:99] + "…"
        faults.append(f"{name}: {shown} is not valid. Expected {allowed}.")
    return faults


def dropped() -> list[str]:
    """Find what cookiecutter only warns of: in a configuration file, an answer that is no choice.

    Returns
    -------
    list of str
        One line at most, since it drops all answers after that one too.
    """
    warned = vars(generate).get("__warningregistry__", {})
    texts = [str(key[0]) for key in warned if isinstance(key, tuple)]
    warned.clear()
    return [
        f"{text.removeprefix('Invalid default received: ')}. Fix it in your cookiecutter"
        " configuration (put numbers in quotes), or bake with --default-config. All later answers"
        " were ignored."
        for text in texts
        if text.startswith("Invalid default received: ")
    ]


def unknown(answers: Mapping[str, Any]) -> list[str]:
    """Find what cookiecutter drops without a word: an answer to no question, as `licence=MIT`.

    Parameters
    ----------
    answers : mapping
        All answers, whatever their source.

    Returns
    -------
    list of str
        One line for each on the command line: a configuration file serves other templates too.
    """
    command = click.get_current_context(silent=True)
    options = (command and command.params.get("extra_context")) or {}
    # `__year` is not answered yet.
    expected = {*answers, "__year"}
    questions = ", ".join(RULES)
    return [
        f"{name}: there is no such question. The questions are: {questions}."
        for name in options
        if name not in expected
    ]


def make_room(answers: Mapping[str, Any]) -> str:
    """Remove what a bake that was cut off left in this one's folder, and register the same cleanup.

    Parameters
    ----------
    answers : mapping
        Among them `_output_dir`, which cookiecutter adds after the questions, and cruft does not.

    Returns
    -------
    str
        Nothing: it goes before the name of the folder.
    """
    if "_output_dir" in answers:
        folder = Path(answers["_output_dir"], answers["project_slug"])
        if _runs_by_itself():
            wait_for_other_bakes(folder.parent)
        remove_unfinished(folder)
        if isinstance(sys.excepthook, functools.partial):
            sys.excepthook = functools.partial(explain, folder)
        if "--keep-project-on-failure" not in sys.argv:
            atexit.register(remove_unfinished, folder)
    return ""


def wait_for_other_bakes(folder: Path) -> None:
    """Wait until no other process bakes into a folder, which is made if it is missing.

    This process holds the lock until it ends. The folder itself is locked, so that no file is left
    when a bake is killed. Windows cannot lock a folder.
    """
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        folder.mkdir(parents=True, exist_ok=True)
        fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX)


def _runs_by_itself() -> bool:
    """Whether this process is the command `cookiecutter` or `cruft`, not a program that bakes."""
    program = Path(sys.argv[0])
    return bool({program.stem, program.parent.name} & {"cookiecutter", "cruft"})


def remove_unfinished(folder: Path) -> None:
    """Remove a folder that hooks/pre_gen_project.py has marked, or has not come to yet.

    One in which more was committed than the bake itself is left alone, marked or not.
    """
    with contextlib.suppress(OSError):
        if (folder / UNFINISHED).exists():
            log = folder / ".git" / "logs" / "HEAD"
            if not log.exists() or len(log.read_text("utf-8").splitlines()) <= 1:
                rmtree(folder)
        else:
            folder.rmdir()


def explain(
    folder: Path | None,
    kind: type[BaseException],
    error: BaseException,
    traceback: TracebackType | None,
) -> None:
    """Say in one line what cookiecutter and cruft show a traceback for: `sys.excepthook`."""
    cause = error.__cause__ or error
    if isinstance(cause, OSError):
        path, reason = cause.filename2 or cause.filename or folder, cause.strerror or str(cause)
        problem = f"{path}: {reason}" if path else reason
        sys.stderr.write(f"Error: {problem}. Fix that and bake again\n")
    elif isinstance(error, OutputDirExistsException):
        sys.stderr.write(f"{error}\n")
    else:
        sys.__excepthook__(kind, error, traceback)


class CheckedContext(Context):
    """Refuses bad answers as soon as all are known, whichever way they came.

    cookiecutter makes the root folder before it runs a hook, so a hook would come too late for
    `../x`. Rendering comes first: `__year`, the last entry of cookiecutter.json, after the
    questions, or else (replayed answers) the name of the root folder.
    """

    def __init__(
        self, environment: Environment, parent: dict[str, Any], *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(environment, parent, *args, **kwargs)
        answers = parent.get("cookiecutter", {})
        if answers.keys() >= RULES.keys() and (
            faults := [*dropped(), *unknown(answers), *problems(answers)]
        ):
            # cookiecutter and cruft both show a traceback for most errors, but none for this one.
            sys.exit("\n".join(faults))


class Answers(Extension):
    """The filters, the check of all answers, and room for a bake after one that was cut off."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.filters |= {
            "quote": quote,
            "markdown": markdown,
            "slug": slug,
            "package": package,
            "make_room": make_room,
        }
        self._whole: dict[str, str] = {}
        environment.globals |= {
            "whole": self._whole,
            "library_version": library_version(),
            # cruft does not say where its clone of the template is.
            "template_folder": str(TEMPLATE),
        }
        environment.context_class = CheckedContext
        if _runs_by_itself() and not isinstance(sys.excepthook, functools.partial):
            sys.excepthook = functools.partial(explain, None)
        # `cruft update` renders two versions of the template in one process: each needs its own.
        sys.modules.pop(__name__, None)

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Take an answer as plain text, where cookiecutter would run Jinja, and other texts too."""
        if source == ROOT_FOLDER:
            return "{{ cookiecutter | make_room }}" + source
        if name is not None and not DELIMITER.search(source):
            # Taking a lock to pieces and putting it together again takes as long as half the bake.
            self._whole[name] = source
            return "{{ whole[" + json.dumps(name) + "] }}"
        is_answer = name is None and self.environment.loader is None
        if is_answer and DELIMITER.search(source) and source not in self._own_texts():
            return "{{ " + json.dumps(source, ensure_ascii=False) + " }}"
        return source

    @staticmethod
    def _own_texts() -> set[str]:
        questions = json.loads((TEMPLATE / "cookiecutter.json").read_text("utf-8"))
        hooks = [hook.read_text("utf-8") for hook in TEMPLATE.glob("hooks/*.py")]
        defaults = [text for text in questions.values() if isinstance(text, str)]
        return {ROOT_FOLDER, *hooks, *defaults}

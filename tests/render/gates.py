"""What every bake must hold to: each gate returns one line per fault, and none for a good bake."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from identify.vendor.licenses import LICENSES

# Templates that the project itself renders when it runs.
OWN_JINJA = re.compile(r"^src/\w+/training/report\.html\.jinja$")
# `${{ … }}` is GitHub's, and two braces in Python are one brace of an f-string.
LEFTOVER = re.compile(r"(?<!\$)\{\{|\{[%#]|cookiecutter", re.IGNORECASE)
LEFTOVER_PYTHON = re.compile(r"\{\{ ?cookiecutter|\{%|\{#|cookiecutter", re.IGNORECASE)

# What a holder fills in, and a line that SPDX lets each holder leave out.
COPYRIGHT = re.compile(r"^ *Copyright .*\n(All rights reserved\.\n)?", re.MULTILINE)

READERS: dict[str, Callable[[str], Any]] = {
    ".json": json.loads,
    ".py": ast.parse,
    ".toml": tomllib.loads,
    ".lock": tomllib.loads,
    ".yaml": lambda text: list(yaml.safe_load_all(text)),
    ".yml": lambda text: list(yaml.safe_load_all(text)),
}


def files(project: Path) -> dict[str, Path]:
    """Map the path of each file inside the project to where it lies."""
    found = {
        path.relative_to(project).as_posix(): path
        for path in sorted(project.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(project).parts
    }
    if not found:
        raise FileNotFoundError(f"{project}: no file, so nothing can be judged: bake first")
    return found


def texts(project: Path) -> dict[str, str]:
    """Map the path of each text file inside the project to its text."""
    found = {}
    for name, path in files(project).items():
        content = path.read_bytes()
        if b"\0" not in content:
            found[name] = content.decode("utf-8")
    return found


def stray_braces(template: Path) -> list[str]:
    """Find double braces that Jinja would take for its own, as in an f-string of a test."""
    copied = json.loads((template / "cookiecutter.json").read_text("utf-8"))["_copy_without_render"]
    found = []
    for name, text in texts(template / "{{cookiecutter.project_slug}}").items():
        if not any(fnmatch(name, pattern) for pattern in copied):
            rendered = re.sub(r"\{%-? raw %\}.*?\{%-? endraw %\}", "", text, flags=re.DOTALL)
            for match in re.finditer(r"\{\{(?!-? ?cookiecutter\.).*", rendered):
                found.append(f"{name}: {match[0]}")
    return found


def unreadable(project: Path) -> list[str]:
    """Find TOML, YAML, JSON and Python that cannot be parsed."""
    found = []
    for name, text in texts(project).items():
        try:
            READERS.get(PurePosixPath(name).suffix, str)(text)
        except (ValueError, SyntaxError, yaml.YAMLError) as error:
            found.append(f"{name}: {' '.join(str(error).split())}")
    return found


def leftovers(project: Path) -> list[str]:
    """Find what only the template may hold."""
    return [
        f"{name}:{number}: {line.strip()}"
        for name, text in texts(project).items()
        if not OWN_JINJA.match(name)
        for number, line in enumerate(text.splitlines(), start=1)
        if (LEFTOVER_PYTHON if name.endswith(".py") else LEFTOVER).search(line)
    ]


def untidy(project: Path) -> list[str]:
    """Find empty files, white space at the end of lines, runs of blank lines, foreign line ends."""
    found = [f"{name}: empty" for name, path in files(project).items() if not path.stat().st_size]
    for name, text in texts(project).items():
        blank_run = "\n\n\n\n" if name.endswith(".py") else "\n\n\n"
        faults = {
            "carriage return": "\r" in text,
            "starts with a blank line": text.startswith("\n"),
            "does not end with one line break": text[-1:] != "\n" or text[-2:] == "\n\n",
            "white space at the end of a line": re.search(r"[ \t]\n", text),
            "run of blank lines": blank_run in text,
        }
        found += [f"{name}: {fault}" for fault, present in faults.items() if text and present]
    return found


def unsafe_names(names: Iterable[str]) -> list[str]:
    """Find names that Windows cannot hold."""
    names = list(names)
    reserved = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
    found = [
        f"{name}: Windows refuses {part!r}"
        for name in names
        for part in PurePosixPath(name).parts
        if re.search(r'[<>:"|?*\\\x00-\x1f]|[. ]$', part) or reserved.fullmatch(part)
    ]
    # A checkout below C:\Users\… leaves some 180 of Windows' 260 characters.
    found += [f"{name}: longer than 180 characters" for name in names if len(name) > 180]
    same = Counter(name.lower() for name in names)
    return found + [f"{name}: {n} names for Windows' one" for name, n in same.items() if n > 1]


def unlinted(project: Path) -> list[str]:
    """Find what ruff would format or complain about, with the project's own settings."""
    return [
        *_said(project, "ruff", "format", "--check", "--no-cache", "--output-format=concise", "."),
        *_said(project, "ruff", "check", "--no-cache", "--output-format=concise", "."),
    ]


def invalid_workflows(folder: Path) -> list[str]:
    """Find workflows and update settings against GitHub's schemas or zizmor's rules of security."""
    workflows = [str(path) for path in sorted(folder.glob(".github/workflows/*.y*ml"))]
    if not workflows:
        return [f"{folder.name}: no workflow in .github/workflows"]
    updates = [str(path) for path in folder.glob(".github/dependabot.yml")]
    files_of = {"vendor.github-workflows": workflows, "vendor.dependabot": updates}
    return [
        *(
            line
            for schema, paths in files_of.items()
            if paths
            for line in _said(folder, "check-jsonschema", "--builtin-schema", schema, *paths)
        ),
        *_said(folder, "zizmor", "--offline", "--quiet", "--format=github", ".github"),
    ]


def invalid_ci(project: Path) -> list[str]:
    """Find faults of the workflow or the pipeline, whichever the project has."""
    if (project / ".gitlab-ci.yml").exists():
        schema = ("--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci")
        return _said(project, "check-jsonschema", *schema, ".gitlab-ci.yml")
    return invalid_workflows(project) if (project / ".github").exists() else []


def unowned(project: Path) -> list[str]:
    """Find lines of CODEOWNERS that name no owner or match nothing."""
    found = []
    for line in (project / "CODEOWNERS").read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pattern, *owners = line.split()
        if not owners:
            found.append(f"{pattern}: no owner")
        if pattern != "*" and not (project / pattern.strip("/")).exists():
            found.append(f"{pattern}: nothing there to own")
    return found


def altered_licence(project: Path) -> list[str]:
    """Find a LICENSE without year and holder, or with another text than its SPDX identifier has."""
    settings = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]
    text = (project / "LICENSE").read_text("utf-8")
    holder = re.escape(settings["authors"][0]["name"])
    line = rf"^ *Copyright (\(c\) )?\d{{4}},? {holder}(\. All rights reserved\.)?$"
    known = {**dict(LICENSES), "LicenseRef-Proprietary": text}
    expected, got = (
        COPYRIGHT.sub("", body, count=1).split()
        for body in (known.get(settings["license"], ""), text)
    )
    faults = {
        "no line with `Copyright`, a year and the author": not re.search(line, text, re.MULTILINE),
        f"not the text of {settings['license']}": expected != got,
    }
    return [f"LICENSE: {fault}" for fault, present in faults.items() if present]


def invalid_hooks(folder: Path) -> list[str]:
    """Find faults in the configuration of pre-commit."""
    return _said(folder, "pre_commit", "validate-config", ".pre-commit-config.yaml")


def drifted_lock(project: Path) -> list[str]:
    """Find a lock that pyproject.toml has moved away from, and faults of pyproject.toml."""
    return _said(project, "poetry", "check", "--lock", "--strict", "--no-interaction")


def _said(folder: Path, *command: str) -> list[str]:
    """Run a tool of this environment; return what it said if it was not content."""
    tool = Path(sys.executable).with_name(command[0])
    start = [str(tool)] if tool.exists() else [sys.executable, "-m", command[0]]
    done = subprocess.run([*start, *command[1:]], cwd=folder, capture_output=True, text=True)
    said = (done.stdout + done.stderr).strip().splitlines()
    return (said or [f"{command[0]}: exit {done.returncode}"]) if done.returncode else []

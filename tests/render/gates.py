"""What every bake must hold to: each gate returns one line per fault, and none for a good bake."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from identify.vendor.licenses import LICENSES

# `${{ … }}` is GitHub's, `'{{ … }}'` Docker's, and two braces in Python are one of an f-string.
LEFTOVER = re.compile(r"(?<![$'])\{\{|\{[%#]|cookiecutter", re.IGNORECASE)
LEFTOVER_PYTHON = re.compile(r"\{\{ ?cookiecutter|\{%|\{#|cookiecutter", re.IGNORECASE)

# What a holder fills in, and a line that SPDX lets each holder leave out.
COPYRIGHT = re.compile(r"^ *Copyright .*\n(All rights reserved\.\n)?", re.MULTILINE)


# What a file says only where this value was chosen; None where nothing tells it from the others.
WORDS: dict[str, dict[str, str | None]] = {
    "task": {
        "classification": r"roc_auc|ROC-AUC|log_loss|class_prior|confusion|LATE_AFTER",
        "regression": r"pinball|q0\.5|model\.quantiles|quantileerror|MEAN|minutes_late",
    },
    "framework": {
        "scikit-learn": r"HistGradientBoosting|hist_gradient_boosting",
        "xgboost": r"(?i)xgboost",
    },
    "ci": {
        "github-actions": r"\.github/workflows|GitHub Actions",
        "gitlab-ci": r"\.gitlab-ci|GitLab",
        "none": None,
    },
    "license": {
        "Proprietary": r"(?i)proprietary|confidential",
        "Apache-2.0": r"Apache",
        "MIT": r"\bMIT\b",
        "BSD-3-Clause": r"\bBSD\b",
    },
    # All three are supported; which one CI uses stands in its settings alone.
    "python_version": {"3.13": None, "3.12": None, "3.11": None},
}
# Files that are found by their name: nothing has to refer to them.
FOUND_BY_NAME = {
    ".dvc/config": "DVC",
    ".dockerignore": "Docker",
    ".gitattributes": "git",
    "CODEOWNERS": "GitHub and GitLab",
    ".gitlab-ci.yml": "GitLab",
    ".github/workflows/*.yml": "GitHub",
    ".gitignore": "git",
    "README.md": "who opens the folder",
    "conf/deploy/*.yaml": "ml-ready, for its commands of AWS",
    "data/sample/README.md": "who opens the folder",
    "dvc.yaml": "DVC",
    "poetry.toml": "Poetry",
    "pyproject.toml": "Poetry",
    "src/*/__init__.py": "Python",
    "src/*/entrypoints/console.py": "the console scripts of pyproject.toml",
    "src/*/training/model.py": "project.py, by its dotted name",
    "tests/*/test_*.py": "pytest",
    "tests/conftest.py": "pytest",
    "tests/*/conftest.py": "pytest",
}

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
            for match in re.finditer(r"\{\{(?!-? ?(cookiecutter\.|library_version)).*", rendered):
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
        for number, line in enumerate(text.splitlines(), start=1)
        if (LEFTOVER_PYTHON if name.endswith(".py") else LEFTOVER).search(line)
    ]


def untidy(project: Path) -> list[str]:
    """Find empty files and the gaps that a condition of the template leaves behind."""
    found = [f"{name}: empty" for name, path in files(project).items() if not path.stat().st_size]
    for name, text in texts(project).items():
        faults = {
            "carriage return": "\r",
            "starts with a blank line": r"\A\n",
            "does not end with one line break": r"[^\n]\Z|\n\n\Z",
            "white space at the end of a line": r"\s(?<!\n)$",
            "run of blank lines": "\n\n\n\n" if name.endswith(".py") else "\n\n\n",
        }
        if not name.endswith(".md"):
            faults["blank line inside of a bracket"] = r"[\[({]\n\n|\n\n[ \t]*[\])}]"
        match PurePosixPath(name).suffix:
            case ".md":
                # What stands in code is as its language wants it.
                text = re.sub(r"^```.*?^```$|`[^`\n]*`", "`", text, flags=re.DOTALL | re.MULTILINE)
                faults |= {
                    "blank line inside of a table": r"\|\n\n\|",
                    "gap in a line": r"\S {2,}\S|\w [.,;:!?](?=\s)",
                    "heading without a text": r"^(#+) .+\n+(?:\Z|(?!\1#)#+ )",
                }
            case ".toml":
                faults["heading without a text"] = r"^\[.*\]\n+(?:\Z|\n)"
            case ".yaml" | ".yml":
                faults["blank line after a key"] = r":\n\n[ \t]"
        found += [
            f"{name}: {what}" for what, fault in faults.items() if re.search(fault, text, re.M)
        ]
    return found


def foreign(project: Path, answers: Mapping[str, str]) -> list[str]:
    """Find lines that speak of an option that was not chosen."""
    patterns = {
        f"{question}={value}": words
        for question, values in WORDS.items()
        if question in answers
        for value, words in values.items()
        if words and value != answers[question]
    }
    return [
        f"{name}:{number}: of {option}, which was not chosen: {line.strip()[:80]}"
        for name, text in texts(project).items()
        if name != "poetry.lock"
        for number, line in enumerate(text.splitlines(), start=1)
        for option, words in patterns.items()
        if re.search(words, line)
    ]


def unreferenced(project: Path) -> list[str]:
    """Find files that no program looks for, no other file names and no code imports."""
    graph = subprocess.run(
        [_tool("ruff"), "analyze", "graph", "--quiet", "."], cwd=project, capture_output=True
    )
    imports: dict[str, list[str]] = json.loads(graph.stdout)
    used = {
        module
        for importer, modules in imports.items()
        # What only tests import is of no use to the project.
        if not importer.startswith("tests/")
        for module in modules
    }
    # Neither says what a file is for.
    silent = {"poetry.lock", ".gitignore", ".gitattributes", "CODEOWNERS"}
    said = {name: text for name, text in texts(project).items() if name not in silent}
    found = []
    for name in files(project):
        path = PurePosixPath(name)
        names = [name, path.name]
        if name.startswith("src/") and path.suffix == ".py":
            # A stage depends on it, but that does not run it.
            names = ["-m " + ".".join(path.with_suffix("").parts[1:])]
        elif name.startswith("conf/"):
            names.append(f"{path.parent.name}: {path.stem}")
        if not (
            name in used
            or any(fnmatch(name, pattern) for pattern in FOUND_BY_NAME)
            or any(
                re.search(rf"(?<![\w./-]){re.escape(each)}(?![\w-])", text)
                for other, text in said.items()
                if other != name
                for each in names
            )
        ):
            found.append(f"{name}: no file names or imports it: delete it, or say what it is for")
    return found


def oversized(project: Path, limit: int = 65) -> list[str]:
    """Find that a project has more files than a person reads, and say where they lie."""
    names = list(files(project))
    folders = Counter(name.partition("/")[0] if "/" in name else "." for name in names)
    count = ", ".join(f"{folder} {n}" for folder, n in sorted(folders.items()))
    return [f"{len(names)} files, at most {limit}: {count}"] if len(names) > limit else []


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


def invalid_dockerfile(project: Path) -> list[str]:
    """Find what makes a bad image of its recipe."""
    return _said(project, "hadolint", "--no-color", "container/Dockerfile")


def drifted_lock(project: Path) -> list[str]:
    """Find a lock that pyproject.toml has moved away from, and faults of pyproject.toml."""
    return _said(project, "poetry", "check", "--lock", "--strict", "--no-interaction")


def _said(folder: Path, *command: str) -> list[str]:
    """Run a tool of this environment; return what it said if it was not content."""
    tool = _tool(command[0])
    start = [str(tool)] if tool.exists() else [sys.executable, "-m", command[0]]
    done = subprocess.run([*start, *command[1:]], cwd=folder, capture_output=True, text=True)
    said = (done.stdout + done.stderr).strip().splitlines()
    return (said or [f"{command[0]}: exit {done.returncode}"]) if done.returncode else []


def _tool(name: str) -> Path:
    return Path(sys.executable).with_name(name)

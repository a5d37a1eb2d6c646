"""Check, pack and tag a version of the library; nothing is pushed.

The workflow Release runs it with `--check` on the tag, and takes what it prints as release notes.
"""

import argparse
import ast
import hashlib
import itertools
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from scripts.packer import pack

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Refuse with a line for each fault; otherwise pack and tag, or print the release notes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", help="such as 0.3.0")
    parser.add_argument(
        "--check", action="store_true", help="only check, on the tag, and print the release notes"
    )
    arguments = parser.parse_args()
    if faults := list(find_faults(arguments.version, tagged=arguments.check)):
        sys.exit("\n".join(faults))
    if arguments.check:
        print(read_changelog()[1].strip())
        return
    wheel, tag = pack_commit(), f"v{arguments.version}"
    git("tag", "--annotate", tag, "--message", f"ml-ready {arguments.version}")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    print(f"{wheel.relative_to(ROOT)}  sha256:{digest}\nTo publish it: git push origin {tag}")


def find_faults(version: str, *, tagged: bool) -> Iterator[str]:
    """Yield a line for each thing that does not agree with a version.

    Parameters
    ----------
    version : str
    tagged : bool
        Whether the tag of the version must be at HEAD; otherwise it must not exist.
    """
    # Semantic Versioning and Python write pre-releases differently, so there are none.
    if not re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", version):
        yield f"VERSION is {version!r}, expected three numbers: type `make release VERSION=0.3.0`"
        return
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if project["version"] != version:
        yield (
            f"pyproject.toml: version is {project['version']}, expected {version}:"
            " change it, then type `make lock`"
        )
    heading, _ = read_changelog()
    if not _is_heading(heading, version):
        yield (
            f"CHANGELOG.md: the first section with entries is `## {heading}`,"
            f" expected `## [{version}] - YYYY-MM-DD`: rename it"
        )
    for lock in sorted(ROOT.glob("{{cookiecutter.project_slug}}/*poetry.lock*")):
        yield from compare_lock(lock, {**project, "version": version})
    if changes := git("status", "--porcelain"):
        yield (
            f"{changes.splitlines()[0][3:]} is not committed, expected a clean working tree:"
            " commit or remove it"
        )
    tag, tags = f"v{version}", git("tag", "--points-at", "HEAD").split()
    if tagged and tag not in tags:
        yield f"the tag of HEAD is {' '.join(tags) or 'missing'}, expected {tag}: check out {tag}"
    if not tagged and git("tag", "--list", tag):
        yield (
            f"the tag {tag} exists, expected none: choose the next version,"
            f" or type `git tag --delete {tag}` if nobody has it"
        )
    yield from compare_names(version)


def read_changelog() -> tuple[str, str]:
    """Return heading and text of the first section that has entries."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heading, _, entries = section.partition("\n")
        if re.sub(r"^#.*", "", entries, flags=re.MULTILINE).strip():
            return heading, entries
    return "none", ""


def _is_heading(heading: str, version: str) -> bool:
    """Whether a heading of the changelog names a version and a date."""
    name, _, day = heading.partition(" - ")
    try:
        return name == f"[{version}]" and date.fromisoformat(day).isoformat() == day
    except ValueError:
        return False


def compare_lock(lock: Path, project: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line if a lock has another wheel of the library, or other requirements of it."""
    version, extras = project["version"], project["optional-dependencies"]
    requirements = [*project.get("dependencies", []), *itertools.chain(*extras.values())]
    expected = {f"version {version}", f"ml_ready-{version}-py3-none-any.whl"}
    expected |= _list_requirements(extras) | {
        re.split(r"[^\w.-]", each)[0] for each in requirements
    }
    locked: set[str] = set()
    # To read all of a lock takes a second.
    for text in lock.read_text(encoding="utf-8").split("[[package]]\n"):
        if text.startswith('name = "ml-ready"\n'):
            (package,) = tomllib.loads(f"[[package]]\n{text}")["package"]
            locked |= {
                f"version {package['version']}",
                *(file["file"] for file in package["files"]),
            }
            locked |= _list_requirements(package["extras"]) | package["dependencies"].keys()
    if locked != expected:
        got, missing = (
            ", ".join(sorted(names)) or "nothing"
            for names in (locked - expected, expected - locked)
        )
        yield f"{lock.name}: ml-ready has {got}, expected {missing}: type `make lock`"


def compare_names(version: str) -> Iterator[str]:
    """Yield a line if a patch version lacks a public name of the version before it."""
    minor, _, patch = version.rpartition(".")
    before = f"v{minor}.{int(patch) - 1}"
    if patch == "0":
        return
    if not git("tag", "--list", before):
        yield f"the tag {before} is missing, expected the version before: type `git fetch --tags`"
    elif lost := _list_names(before) - _list_names("HEAD"):
        yield (
            f"{', '.join(sorted(lost))}: removed since {before}, expected only fixes:"
            " bring it back, or release a minor version"
        )


def pack_commit() -> Path:
    """Pack HEAD into `dist/`, once it gives the same bytes as this folder."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "clone")
        git("clone", "--quiet", str(ROOT), str(clone))
        wheel = pack(clone / "dist", clone)
        if wheel.read_bytes() != pack(Path(folder, "dist")).read_bytes():
            sys.exit(
                "src/ml_ready: the wheel of this folder differs from that of the commit, expected"
                " the same bytes: remove what `git status --ignored src` lists"
            )
        (ROOT / "dist").mkdir(exist_ok=True)
        return Path(shutil.copy(wheel, ROOT / "dist"))


def git(*arguments: str) -> str:
    """Return what git prints; stop with its message when it fails."""
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode:
        sys.exit(f"git {arguments[0]}: {' '.join(done.stderr.split())}")
    return done.stdout


def _list_requirements(extras: Mapping[str, Iterable[str]]) -> set[str]:
    # Poetry writes spaces, brackets and other quotes.
    return {
        f"{extra}: " + re.sub(r"[()\s]", "", requirement).replace('"', "'")
        for extra, requirements in extras.items()
        for requirement in requirements
    }


def _list_names(commit: str) -> set[str]:
    names: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source.zip")
        git("archive", "--output", str(source), commit, "src/ml_ready")
        with zipfile.ZipFile(source) as archive:
            for path in archive.namelist():
                if path.endswith(".py"):
                    module = path.removeprefix("src/").removesuffix(".py").replace("/", ".")
                    names.update(_list_members(ast.parse(archive.read(path)), module))
    return {name for name in names if "._" not in name}


def _list_members(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[str]:
    package = prefix.removesuffix(".__init__")
    yield package
    for member in node.body:
        match member:
            case ast.ClassDef():
                yield from _list_members(member, f"{package}.{member.name}")
            case ast.FunctionDef(name="__init__"):
                yield from (
                    f"{package}.{each.attr}"
                    for each in ast.walk(member)
                    if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store)
                )
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.AnnAssign(target=ast.Name(id=name))
                | ast.Assign(targets=[ast.Name(id=name)])
            ):
                yield f"{package}.{name}"
            case ast.ImportFrom(names=names) if package != prefix:
                yield from (f"{package}.{each.asname or each.name}" for each in names)


if __name__ == "__main__":
    main()

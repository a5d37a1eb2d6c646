"""Public names: documented, with examples that run; a project takes no other, and is offered none.

Files are read as text: those of the template hold Jinja.
"""

import ast
import doctest
import importlib
import inspect
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

import ml_ready
import pytest
from ml_ready.project import Model, Outputs, Task

PACKAGE = Path(ml_ready.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TEMPLATE = Path(__file__).parents[2]
# What projects are made of.
PROJECT = (TEMPLATE / "{{cookiecutter.project_slug}}", TEMPLATE / "tests" / "project" / "swap")
# Their functions need a repository, or an account.
BEYOND_EXAMPLES = ("ml_ready.jobs.", "ml_ready.aws.")
RECORD = {
    "sent_at": datetime(2024, 3, 1, 17),
    "depot": "west",
    "code": "AX",
    "weight": 2.5,
    "stops": 3,
    "distance": 900,
    "express": None,
    "staff": 12,
}


def sources(*folders: Path) -> Iterator[str]:
    """Read the Python files of folders; in the template a name may go on after `.py`."""
    for folder in folders:
        for path in folder.rglob("*.py*"):
            if path.is_file() and path.suffix != ".pyc":
                yield path.read_text("utf-8")


def taken(text: str, package: str = "") -> set[tuple[str, str]]:
    """Return the names that a file takes from modules of the library, each with its module.

    Parameters
    ----------
    text : str
    package : str
        Of the library, if the file is in one: its imports are relative.
    """
    names = set()
    for origin, imported in re.findall(
        r"^\s*from ([\w.]+) import (\([^)]*\)|.+)", text, re.MULTILINE
    ):
        if origin.startswith(".") and not package:
            continue
        module = resolve_name(origin, package)
        for name, alias in re.findall(r"(\w+)(?: as (\w+))?", re.sub("#.*", "", imported)):
            if f"{module}.{name}" in MODULES:
                # Also those that a test replaces: `monkeypatch.setattr(module, "name", …)`.
                attributes = re.findall(rf'\b{alias or name}(?:\.|, ")(\w+)', text)
                names |= {(f"{module}.{name}", attribute) for attribute in attributes}
            elif module.startswith("ml_ready"):
                names.add((module, name))
    return names


def private(names: Iterable[tuple[str, str]]) -> list[str]:
    """List the names that start with an underscore, or are in a module that does."""
    dotted = (f"{module}.{name}" for module, name in names)
    return sorted(name for name in dotted if "._" in name)


def needlessly_public(module: str, source: str, used: set[tuple[str, str]]) -> list[str]:
    """List the names that no other file uses, apart from the types of what is public."""
    body = ast.parse(source).body
    types = {name for node in body for name in _types(node)}
    return [
        name
        for node in body
        if not _called_by_name(node)
        for name in _names(node)
        if not (name.startswith("_") or name in types or (module, name) in used)
    ]


def _called_by_name(node: ast.stmt) -> bool:
    """Whether pytest calls a function, as a hook or a fixture; or `check_project` does."""
    if not isinstance(node, ast.FunctionDef):
        return False
    decorators = "".join(map(ast.unparse, node.decorator_list))
    return node.name.startswith(("pytest_", "check_")) or "pytest.fixture" in decorators


def undocumented(value: Any) -> list[str]:
    """List what the docstring of a function or class lacks: parameters, or what is returned."""
    text = inspect.getdoc(value) or ""
    if inspect.isclass(value) and "__init__" not in vars(value):
        return _lacking(text, ())
    signature = inspect.signature(value)
    returns = not inspect.isclass(value) and signature.return_annotation not in (None, "None")
    return _lacking(text, signature.parameters, ["Returns"] * returns)


def undocumented_in(module: str, source: str) -> list[str]:
    """List what the docstrings of public functions and methods lack, `Raises` included.

    The source is read: to import every module takes Spark, SageMaker and Locust.
    """
    body = ast.parse(source).body
    bodies = {"": body} | {
        f"{node.name}.": node.body
        for node in body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    }
    return [
        f"{owner}{node.name} lacks {', '.join(lacking)}"
        for owner, nodes in bodies.items()
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not (node.name.startswith("_") or _described_elsewhere(module, owner, node))
        and (lacking := _lacking_in(node))
    ]


def _described_elsewhere(
    module: str, owner: str, node: ast.FunctionDef | ast.AsyncFunctionDef
) -> bool:
    """Whether a docstring needs no sections, since the reader finds their content elsewhere.

    A property takes nothing. Hooks and fixtures are called by pytest, which documents what they
    take. Each check of a project takes a `Subject`, which the docstring of their module describes.
    A `main` takes a command line, which `--help` describes. A task has the methods of the protocols
    in `ml_ready.project`, whose docstrings say what each of them takes and returns.
    """
    decorators = {ast.unparse(each).partition("(")[0] for each in node.decorator_list}
    return (
        node.name == "main"
        or node.name.startswith("pytest_")
        or not decorators.isdisjoint({"property", "cached_property", "pytest.fixture"})
        or (node.name.startswith("check_") and ast.unparse(node.args) == "subject: Subject")
        or (module.startswith("ml_ready.tasks.") and bool(owner) and node.name in OF_PROTOCOLS)
    )


def _lacking_in(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    every = node.args
    arguments = [*every.posonlyargs, *every.args, every.vararg, *every.kwonlyargs, every.kwarg]
    names = [each.arg for each in arguments if each and each.arg not in ("self", "cls")]
    returns = node.returns is not None and ast.unparse(node.returns) != "None"
    raised = (each.exc for each in ast.walk(node) if isinstance(each, ast.Raise) and each.exc)
    raises = any(re.match(r"\w+Error\b", ast.unparse(each)) for each in raised)
    text = ast.get_docstring(node) or ""
    return _lacking(text, names, ["Returns"] * returns + ["Raises"] * raises)


def _lacking(text: str, parameters: Iterable[str], sections: Iterable[str] = ()) -> list[str]:
    """List the parameters that a docstring does not describe, and the sections that it lacks."""
    if not text:
        return ["a docstring"]
    parts = re.split(r"(?:^|\n)(\w+)\n-+\n", text)
    contents = dict(zip(parts[1::2], parts[2::2], strict=True))
    entries = re.findall(r"^\S.*", contents.get("Parameters", ""), re.MULTILINE)
    described = re.findall(r"\w+", " ".join(entry.partition(" : ")[0] for entry in entries))
    present = {*contents, *(["Returns"] if "Yields" in contents else [])}
    lacking = [name for name in parameters if name not in described]
    return lacking + [name for name in sections if name not in present]


def examples(module: str) -> list[doctest.DocTest]:
    """Return the examples of a module; they know only the names that they import."""
    tests = doctest.DocTestFinder().find(importlib.import_module(module), globs={})
    return [test for test in tests if test.examples]


def without_example(modules: Iterable[str], tests: Iterable[doctest.DocTest]) -> list[str]:
    """List the modules in which, or below which, no docstring has an example."""
    names = [test.name for test in tests]
    return sorted(
        module for module in modules if not any(name.startswith(f"{module}.") for name in names)
    )


def differences(example: doctest.DocTest, **names: Any) -> str:
    """Run an example, and report what it shows where that is not what it says."""
    report: list[str] = []
    example.globs.update(names)
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=report.append)
    return "".join(report)


def _names(node: ast.stmt) -> list[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case ast.Assign(targets=targets):
            parts = [part for target in targets for part in ast.walk(target)]
            return [part.id for part in parts if isinstance(part, ast.Name)]
    return []


def _types(node: ast.AST) -> Iterator[str]:
    """Yield the names in the annotations of a public function, field or method."""
    match node:
        case ast.ClassDef(name=name, body=body) if not name.startswith("_"):
            for each in body:
                yield from _types(each)
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            if not name.startswith("_") or name == "__init__":
                annotations = [
                    each.annotation for each in ast.walk(node.args) if isinstance(each, ast.arg)
                ]
                for annotation in (*annotations, node.returns):
                    if annotation:
                        yield from re.findall(r"\w+", ast.unparse(annotation))
        case ast.AnnAssign(annotation=annotation):
            yield from re.findall(r"\w+", ast.unparse(annotation))


OF_PROJECTS = {name for text in sources(*PROJECT) for name in taken(text)}
OF_PROTOCOLS = {name for protocol in (Model, Outputs, Task) for name in vars(protocol)}
EXAMPLES = [
    example
    for module, path in MODULES.items()
    if ">>> " in path.read_text("utf-8")
    for example in examples(module)
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_shows_what_happens(
    example: doctest.DocTest, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    names: dict[str, Any] = {"folder": tmp_path}
    if "With a `project`" in str(example.docstring):
        one = request.getfixturevalue("one")
        names |= {"project": one.project, "models": one.models, "record": RECORD}
    report = differences(example, **names)
    assert not report, report


def test_an_example_that_shows_something_else_fails() -> None:
    example = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "sum", None, 0)
    assert "Expected:\n    3\nGot:\n    2\n" in differences(example)


def test_an_example_imports_what_it_uses() -> None:
    example = doctest.DocTestParser().get_doctest(">>> pl.DataFrame()\n", {}, "table", None, 0)
    assert "NameError: name 'pl' is not defined" in differences(example)


def test_each_module_that_a_project_imports_has_an_example() -> None:
    modules = {module for module, _ in OF_PROJECTS if not module.startswith(BEYOND_EXAMPLES)}
    assert {"ml_ready.contract", "ml_ready.project", "ml_ready.testing.checks"} <= modules
    assert not without_example(modules, EXAMPLES), "add an example to a docstring of each"


def test_a_module_without_an_example_is_reported() -> None:
    modules = {"ml_ready.contract", "ml_ready.runner", "ml_ready.tables"}
    assert without_example(modules, EXAMPLES) == ["ml_ready.runner"]


def test_a_project_takes_no_private_name() -> None:
    assert not private(OF_PROJECTS), "use a public name, or make one of it"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("from ml_ready.windows import (\n    _cut,  # fast\n    split,\n)", "windows._cut"),
        ("from ml_ready.jobs import train as job\njob._window(frame)", "jobs.train._window"),
        ("from ml_ready._private import cut", "_private.cut"),
    ],
)
def test_a_private_name_in_a_project_is_reported(line: str, expected: str) -> None:
    assert private(taken(line)) == [f"ml_ready.{expected}"]


@pytest.mark.parametrize(("module", "name"), sorted(OF_PROJECTS))
def test_a_name_that_a_project_takes_is_documented(module: str, name: str) -> None:
    value = getattr(importlib.import_module(module), name)
    lacking = undocumented(value) if callable(value) else []
    assert not lacking, f"the docstring of {module}.{name} lacks {', '.join(lacking)}"


def test_what_a_docstring_lacks_is_reported() -> None:
    def bare(rows: int) -> None: ...

    def half(rows: int, target: str) -> int:
        """Count.

        Parameters
        ----------
        rows : int
            Of the target.
        """
        return rows

    assert undocumented(bare) == ["a docstring"]
    assert undocumented(half) == ["target", "Returns"]


@pytest.mark.parametrize("module", MODULES)
def test_a_public_function_is_documented(module: str) -> None:
    assert not undocumented_in(module, MODULES[module].read_text("utf-8"))


def test_a_public_function_without_sections_is_reported() -> None:
    source = """
class Table:
    @property
    def height(self) -> int:
        'The number of rows.'

    def head(self, rows: int) -> Table:
        'Return the first rows.'

def require_rows(table: Table) -> None:
    'Stop an empty table.'
    if not table.height:
        raise ContractError("no row")

def main(arguments: list[str]) -> None:
    'Print a table.'
"""
    assert undocumented_in("ml_ready.tables", source) == [
        "require_rows lacks table, Raises",
        "Table.head lacks rows, Returns",
    ]


def test_only_a_task_leaves_its_methods_to_the_protocol() -> None:
    source = "class Regression:\n    def scores(self, tensor): 'Take the scores.'"
    assert not undocumented_in("ml_ready.tasks.regression", source)
    assert undocumented_in("ml_ready.tables", source) == ["Regression.scores lacks tensor"]


@pytest.fixture(scope="module")
def used() -> set[tuple[str, str]]:
    """All names that any file of this repository takes from a module of the library."""
    others = (TEMPLATE / "benchmarks", TEMPLATE / "scripts", TEMPLATE / "tests")
    names = OF_PROJECTS.union(*map(taken, sources(*others)))
    for module, path in MODULES.items():
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        names |= taken(path.read_text("utf-8"), package)
    return names


@pytest.mark.parametrize("module", MODULES)
def test_a_name_that_only_its_module_uses_is_private(
    module: str, used: set[tuple[str, str]]
) -> None:
    names = needlessly_public(module, MODULES[module].read_text("utf-8"), used)
    assert not names, "start them with an underscore, or test them"


def test_a_name_that_only_its_module_uses_is_reported() -> None:
    source = """
LIMIT, _STEP = 3, 1
Rows = list[int]

class Table:
    rows: "Rows"

def count(table: Table) -> int: ...
"""
    names = {("ml_ready.tables", "Table")}
    assert needlessly_public("ml_ready.tables", source, names) == ["LIMIT", "count"]

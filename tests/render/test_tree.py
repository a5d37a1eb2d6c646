"""A bake, whatever its answers, holds the expected files, and each of them is sound."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from syrupy.assertion import SnapshotAssertion

from tests.combinations import BAKES, CHOICES
from tests.conftest import TEMPLATE, Bake, as_cloned, bake_into
from tests.render import gates

GATES: list[Callable[[Path], list[str]]] = [
    gates.unreadable,
    gates.leftovers,
    gates.untidy,
    gates.unlinted,
    gates.invalid_ci,
    gates.invalid_hooks,
    gates.invalid_dockerfile,
    gates.unowned,
    gates.altered_licence,
    gates.unreferenced,
    gates.drifted_lock,
]


def committed(project: Path) -> list[str]:
    """List mode and path of what the first commit holds."""
    listed = subprocess.check_output(
        ["git", "ls-tree", "-r", "HEAD", "--format=%(objectmode) %(path)"], cwd=project, text=True
    )
    return listed.splitlines()


def test_the_tree_and_its_file_modes_are_the_expected_ones(
    project: Path, snapshot: SnapshotAssertion
) -> None:
    assert "\n".join(committed(project)) == snapshot


def test_the_first_commit_holds_every_file(project: Path) -> None:
    assert [line.split(maxsplit=1)[1] for line in committed(project)] == sorted(
        gates.files(project), key=os.fsencode
    )


def test_a_default_project_is_small(project: Path, tmp_path: Path) -> None:
    assert gates.oversized(project) == []
    for name in (*"abc", "d/e", "d/f"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert gates.oversized(tmp_path, limit=4) == ["5 files, at most 4: . 3, d 2"]


@pytest.fixture(scope="module", params=BAKES)
def answers(request: pytest.FixtureRequest) -> dict[str, str]:
    given: dict[str, str] = request.param
    return given


@pytest.fixture(scope="module")
def variant(answers: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bake_into(tmp_path_factory.mktemp("variant") / "bake", **answers)


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.__name__)
def test_a_bake_passes(gate: Callable[[Path], list[str]], variant: Path) -> None:
    assert gate(variant) == []


def scalars(node: Any) -> Iterator[Any]:
    """Every value within what a YAML file holds."""
    if isinstance(node, dict | list):
        for inner in node.values() if isinstance(node, dict) else node:
            yield from scalars(inner)
    else:
        yield node


def test_a_bake_says_nothing_of_what_was_not_chosen(answers: dict[str, str], variant: Path) -> None:
    assert gates.foreign(variant, answers) == []


def test_the_readme_has_at_most_150_lines(variant: Path) -> None:
    assert len((variant / "README.md").read_text("utf-8").splitlines()) <= 150


def test_windows_can_hold_a_bake(variant: Path) -> None:
    assert gates.unsafe_names(gates.files(variant)) == []


@pytest.mark.parametrize("ci", CHOICES["ci"])
@pytest.mark.parametrize("version", CHOICES["python_version"])
def test_ci_runs_on_the_python_that_the_readme_names_first(
    version: str, ci: str, bake: Bake
) -> None:
    texts = gates.texts(bake(python_version=version, ci=ci))
    assert f"You need Python {version} (any from 3.11 to 3.13 will do)" in texts["README.md"]
    assert 'requires-python = ">=3.11,<3.14"' in texts["pyproject.toml"]
    pipelines = [texts[name] for name in texts if name.startswith((".github/work", ".gitlab-ci"))]
    assert bool(pipelines) is (ci != "none")
    for text in pipelines:
        named = [value for value in scalars(yaml.safe_load(text)) if "3.1" in str(value)]
        assert named, text
        assert {*re.findall(r"3\.\d+", " ".join(named))} == {version}


@pytest.mark.parametrize("version", CHOICES["python_version"])
def test_images_are_built_on_the_python_that_the_readme_names_first(
    version: str, bake: Bake
) -> None:
    recipe = (bake(python_version=version) / "container/Dockerfile").read_text()
    assert re.findall("^ARG BASE_IMAGE=(.*)$", recipe, re.MULTILINE) == [f"python:{version}-slim"]


def test_the_endpoint_is_asked_what_the_server_is_asked_in_the_readme(project: Path) -> None:
    asked = [
        json.loads(re.findall(r"'\s*(\{\"instances.*?\})'", text, re.DOTALL)[0])
        for text in ((project / name).read_text() for name in ("README.md", "docs/sagemaker.md"))
    ]
    assert asked[0] == asked[1]


@pytest.mark.parametrize("name", ["On", "No", "True", "Null"])
def test_a_name_that_yaml_takes_for_something_else_stays_a_text(name: str, bake: Bake) -> None:
    (config,) = gates.READERS[".yaml"]((bake(project_name=name) / "conf/config.yaml").read_text())
    assert config["tracking"]["experiment"].startswith(name.lower())


@pytest.mark.parametrize(
    ("bucket", "url"),
    [("", "../../storage-bay-storage"), ("models-1", "s3://models-1/storage-bay")],
)
def test_data_are_stored_in_the_bucket_or_beside_the_project(
    bucket: str, url: str, bake: Bake
) -> None:
    config = bake(project_slug="storage-bay", artifact_bucket=bucket) / ".dvc" / "config"
    assert f"    url = {url}\n" in config.read_text()


def test_windows_can_hold_the_template() -> None:
    template = subprocess.check_output(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=TEMPLATE, text=True
    ).splitlines()
    assert template
    assert gates.unsafe_names(template) == []


def test_the_templates_own_automation_passes() -> None:
    assert gates.invalid_workflows(TEMPLATE) == []
    assert gates.invalid_hooks(TEMPLATE) == []


def test_all_workflows_pin_the_same_commit_of_an_action(project: Path) -> None:
    pins: dict[str, set[str]] = {}
    for folder in (TEMPLATE, project):
        for workflow in (folder / ".github" / "workflows").iterdir():
            for action, pin in re.findall(r"uses: (\S+)@(.*)", workflow.read_text()):
                pins.setdefault(action, set()).add(pin)
    assert pins.keys() >= {"actions/checkout", "actions/setup-python"}
    for action, found in pins.items():
        (pin,) = found
        assert re.fullmatch(r"[0-9a-f]{40} # v\d+\.\d+\.\d+", pin), action


def test_only_answers_stand_in_double_braces(tmp_path: Path) -> None:
    assert gates.stray_braces(as_cloned()) == []
    broken = shutil.copytree(as_cloned(), tmp_path / "broken")
    name = "tests/unit/test_x.py"
    (broken / "{{cookiecutter.project_slug}}" / name).write_text('x = f"{{1}}"\n')
    assert gates.stray_braces(broken) == [f'{name}: {{{{1}}}}"']


BROKEN: list[tuple[Callable[[Path], list[str]], str, str, str]] = [
    (gates.unreadable, "conf/config.yaml", "a: b: c\n", "conf/config.yaml: mapping values are not"),
    (gates.unreadable, "pyproject.toml", 'a = "b\n', "pyproject.toml: Illegal character"),
    (gates.unreadable, "data/x.json", "{", "data/x.json: Expecting property name"),
    (gates.unreadable, "src/x.py", "def x(:\n", "src/x.py: invalid syntax"),
    (gates.unreadable, "poetry.lock", "[", "poetry.lock: Invalid initial character"),
    (gates.leftovers, "README.md", "# {{ name }}\n", "README.md:1: # {{ name }}"),
    (gates.leftovers, "README.md", "\n{% raw %}\n", "README.md:2: {% raw %}"),
    (gates.leftovers, "src/x.py", "# made by Cookiecutter\n", "src/x.py:1: # made by Cookie"),
    (gates.untidy, "docs/x.md", "", "docs/x.md: empty"),
    (gates.untidy, "docs/x.md", "a \n", "docs/x.md: white space at the end of a line"),
    (gates.untidy, "docs/x.md", "a\n\n\nb\n", "docs/x.md: run of blank lines"),
    (gates.untidy, "docs/x.md", "a\r\n", "docs/x.md: carriage return"),
    (gates.untidy, "docs/x.md", "\na\n", "docs/x.md: starts with a blank line"),
    (gates.untidy, "docs/x.md", "a", "docs/x.md: does not end with one line break"),
    *(
        (gates.untidy, name, text, f"{name}: {fault}")
        for name, text, fault in [
            ("docs/x.md", "| a |\n|---|\n| b |\n\n| c |\n", "blank line inside of a table"),
            ("docs/x.md", "Two  words\n", "gap in a line"),
            ("docs/x.md", "A sentence .\n", "gap in a line"),
            ("docs/x.md", "# A\n\n## B\n\n## C\n\nText\n", "heading without a text"),
            ("docs/x.md", "Text\n\n## Empty\n", "heading without a text"),
            ("x.toml", "[a]\n\n[b]\nc = 1\n", "heading without a text"),
            ("x.toml", "a = 1\n\n[b]\n", "heading without a text"),
            ("x.toml", "a = [\n\n  1,\n]\n", "blank line inside of a bracket"),
            ("x.json", "[\n  1\n\n]\n", "blank line inside of a bracket"),
            ("x.toml", "a = 1\n\n\nb = 2\n", "run of blank lines"),
            ("x.yml", "a: 1\n\n\nb: 2\n", "run of blank lines"),
            ("x.yml", "a:\n\n  b: 1\n", "blank line after a key"),
        ]
    ),
    (
        gates.unreferenced,
        "docs/x.md",
        "X.\n",
        "docs/x.md: no file names or imports it: delete it, or say what it is for",
    ),
    (gates.unreferenced, "src/flight_delays/x.py", '"""X."""\n', "src/flight_delays/x.py: no file"),
    (gates.unreferenced, "conf/model/x.yaml", "a: 1\n", "conf/model/x.yaml: no file"),
    (gates.unlinted, "tests/x.py", "import os\n", "tests/x.py:1:8: F401"),
    (
        gates.unlinted,
        "tests/x.py",
        '"""X."""\n\nimport flight_delays\nimport yaml\n\n__all__ = ["flight_delays", "yaml"]\n',
        "tests/x.py:3:1: I001",
    ),
    (gates.unlinted, "tests/x.py", '"""X."""\nx  = 1\n', "tests/x.py:2:1: unformatted"),
    (
        gates.invalid_dockerfile,
        "container/Dockerfile",
        "FROM python\n",
        "container/Dockerfile:1 DL3006 warning: Always tag the version of an image explicitly",
    ),
    (gates.invalid_hooks, ".pre-commit-config.yaml", "repos: 1\n", "==> File .pre-commit-config"),
    (
        gates.altered_licence,
        "LICENSE",
        "All rights reserved.\n",
        "LICENSE: no line with `Copyright`",
    ),
    (gates.unowned, "CODEOWNERS", "/gone/ @a/b\n", "/gone/: nothing there to own"),
    (gates.unowned, "CODEOWNERS", "/conf/\n", "/conf/: no owner"),
]


@pytest.mark.parametrize(("gate", "name", "text", "line"), BROKEN)
def test_a_broken_bake_is_caught(
    gate: Callable[[Path], list[str]],
    name: str,
    text: str,
    line: str,
    project: Path,
    tmp_path: Path,
) -> None:
    broken = shutil.copytree(project, tmp_path / "broken")
    (broken / name).write_text(text, encoding="utf-8", newline="")
    assert any(found.startswith(line) for found in gate(broken)), gate(broken)


@pytest.mark.parametrize(
    ("name", "text", "option"),
    [
        ("README.md", "It is free (MIT).\n", "license=MIT"),
        ("src/x.py", '"""Under Apache-2.0."""\n', "license=Apache-2.0"),
        ("pyproject.toml", 'dependencies = ["xgboost-cpu"]\n', "framework=xgboost"),
        ("docs/x.md", "GitLab runs the tests.\n", "ci=gitlab-ci"),
    ],
)
def test_a_word_of_an_option_that_was_not_chosen_is_caught(
    name: str, text: str, option: str, tmp_path: Path
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    answers = {"license": "Proprietary", "framework": "scikit-learn", "ci": "github-actions"}
    assert gates.foreign(tmp_path, answers) == [
        f"{name}:1: of {option}, which was not chosen: {text.strip()}"
    ]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("runs-on: ubuntu-latest", "runs_on: ubuntu-latest", "'runs-on' is a required property"),
        ("persist-credentials: false", "fetch-depth: 1", "title=artipacked"),
        ("permissions:\n      contents: read", "permissions: write-all", "excessive-permissions"),
        ('poe "$TASK"', "poe ${{ github.head_ref }}", "title=template-injection"),
        (
            r"checkout@3d3c42e5aac5ba805825da76410c181273ba90b1",
            "checkout@v7",
            "title=unpinned-uses",
        ),
    ],
)
def test_a_broken_workflow_is_caught(
    before: str, after: str, said: str, project: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(project, tmp_path / "broken")
    workflow = broken / ".github" / "workflows" / "ci.yml"
    text = workflow.read_text()
    assert before in text
    workflow.write_text(text.replace(before, after))
    assert said in "\n".join(gates.invalid_workflows(broken))
    workflow.unlink()
    assert gates.invalid_workflows(broken) == ["broken: no workflow in .github/workflows"]


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["a:b"], "a:b: Windows refuses 'a:b'"),
        (["x/aux.py"], "x/aux.py: Windows refuses 'aux.py'"),
        (["x./y"], "x./y: Windows refuses 'x.'"),
        (["a/B", "A/b"], "a/b: 2 names for Windows' one"),
        (["x" * 181], "x" * 181 + ": longer than 180 characters"),
    ],
)
def test_a_name_that_windows_refuses_is_caught(names: list[str], line: str) -> None:
    assert gates.unsafe_names(names) == [line]


def test_an_empty_folder_is_not_a_good_bake(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing can be judged"):
        gates.files(tmp_path)


def test_a_missing_tool_is_a_fault(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", shutil.which("false"))
    for gate in (
        gates.unlinted,
        gates.invalid_workflows,
        gates.invalid_hooks,
        gates.invalid_dockerfile,
        gates.drifted_lock,
    ):
        assert gate(project)

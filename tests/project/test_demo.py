"""The commands of the template's own README: from a bare clone to a prediction."""

import json
import re
import shutil
from pathlib import Path

import pytest

from scripts import refresh_lock
from tests.conftest import TEMPLATE, as_cloned
from tests.project.conftest import Project
from tests.project.readme import Shell, steps

TESTED = {
    "make demo": "test_one_command_leads_from_a_clone_to_a_prediction",
    "make bake": "test_make_bake_passes_its_answers_on",
    "make test": "what runs at this moment: it would run itself without end",
    "make benchmark": "takes ten minutes and asserts nothing",
    "mlflow models serve": "a peer, run by benchmarks/serving.py",
    "make": "test_make_alone_lists_the_commands",
    "python3 bootstrap.py": "test_readme.py, in a baked project",
    "cookiecutter PATH_OF_THIS_FOLDER": "tests/render/test_answers.py",
    "cruft create PATH_OF_THIS_FOLDER": "tests/render/test_cruft.py",
}


@pytest.fixture(scope="module")
def template(user: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone of this repository as it stands, with what is not committed yet."""
    folder = tmp_path_factory.mktemp("demo") / "cookiecutter-ml-ready"
    shutil.copytree(as_cloned(), folder)
    return Project(folder, user)


@pytest.fixture(scope="module")
def demo(template: Project) -> str:
    """What `make demo` prints in a fresh clone."""
    return template.does("make demo", activated=False)


def test_one_command_leads_from_a_clone_to_a_prediction(template: Project, demo: str) -> None:
    shown = [line for line in demo.splitlines() if line.startswith("== ")]
    assert len(shown) == 5, demo
    found = dict(line.split(maxsplit=1) for line in demo.splitlines() if len(line.split()) > 1)
    (prediction,) = json.loads(found["answer"])["predictions"]
    assert 0 < prediction["probability"] < 1
    assert prediction["label"] in (0, 1)
    assert Path(found["project"]) == template.root.with_name("flight-delays")
    assert "Gate passed" in Path(found["report"]).read_text()
    metrics = json.loads((Path(found["project"]) / "reports/metrics.json").read_text())
    assert f"{metrics['test']['roc_auc']:.3f}" in demo


def test_a_step_of_the_demo_that_fails_stops_it_with_its_message(
    template: Project, demo: str
) -> None:
    conf = template.root.with_name("flight-delays") / "conf/model/hist_gradient_boosting.yaml"
    conf.write_text(conf.read_text().replace("max_iter:", "max_itr:"))
    said = template.refuses("make demo", activated=False)
    assert "error: model.max_itr=1000: no such key" in said
    assert "poe pipeline\nIts message is above." in said
    assert "A prediction over HTTP" not in said


def test_make_bake_passes_its_answers_on(template: Project, demo: str) -> None:
    answers = "project_name='Late Trains' license=MIT"
    said = template.does(f'make bake ARGS="--no-input {answers}"', activated=False)
    baked = template.root.with_name("late-trains")
    assert (baked / "README.md").read_text().startswith("# Late Trains\n")
    assert (baked / "LICENSE").read_text().startswith("MIT License\n")
    assert "python3 bootstrap.py" in said


def test_make_alone_lists_the_commands(template: Project) -> None:
    said = template.does("make", activated=False)
    assert all(f"{name} " in said for name in ("bake", "demo", "test", "benchmark"))


def test_every_command_of_the_readme_is_tested(user: dict[str, str], tmp_path: Path) -> None:
    shell = Shell(TEMPLATE, user, tmp_path)
    found = steps((TEMPLATE / "README.md").read_text())
    lines = [line for step in found if step.block for line in step.text.splitlines()]
    codes = [step.text for step in found if not step.block and shell.knows(step.text)]
    shell.close()
    assert {*lines, *codes} == TESTED.keys()


@pytest.fixture(scope="module")
def locked(template: Project, demo: str) -> dict[Path, str]:
    """The locks of the template, after a change that leaves few dependencies to each."""
    settings = template.root / "{{cookiecutter.project_slug}}" / "pyproject.toml"
    text = settings.read_text()
    few = 'dependencies = [\n  "ml-ready=={{ library_version }}",\n  "idna>=3",\n]\n'
    for pattern, new in (
        (r"^dependencies = \[\n.*?^\]\n", few),
        (r"^\[dependency-groups\]\n.*?(?=^\[tool\.poetry\]\n)", ""),
        (r"^\[tool\.poetry\.group\..*?(?=^\[build-system\]\n)", ""),
    ):
        text, changes = re.subn(pattern, new, text, count=1, flags=re.DOTALL | re.MULTILINE)
        assert changes == 1, pattern
    settings.write_text(text)
    locks = list(refresh_lock.locks(template.root))
    for lock in locks:
        lock.write_text("")
    printed = template.does("make lock", activated=False)
    for lock in locks:
        assert f"{lock.name}:\n  " in printed
        assert re.findall(r'^name = "(.+)"$', lock.read_text(), re.MULTILINE) == [
            "idna",
            "ml-ready",
        ]
    return {lock: lock.read_text() for lock in locks}


def test_a_lock_that_fits_stays_as_it_is(template: Project, locked: dict[Path, str]) -> None:
    printed = template.does("make lock", activated=False)
    for lock, text in locked.items():
        assert f"{lock.name}: every version is as it was\n" in printed
        assert lock.read_text() == text


def test_if_one_cannot_be_locked_every_lock_stays_as_it_is(
    template: Project, locked: dict[Path, str]
) -> None:
    *_, last = locked
    settings = template.root / "{{cookiecutter.project_slug}}" / "pyproject.toml"
    # Each lock changes; and there is none that is like the last.
    unknown = last.name.replace("poetry.lock", '"numpy>=99",')
    changed = f'dependencies = [\n  "packaging>=20", {unknown}\n'
    settings.write_text(settings.read_text().replace("dependencies = [\n", changed, 1))
    printed = template.refuses("make lock", activated=False)
    assert (
        "refresh_lock.py: every poetry.lock is as it was: fix what Poetry says above of "
        f"{last.name}\n" in printed
    )
    assert {lock: lock.read_text() for lock in locked} == locked

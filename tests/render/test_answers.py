"""An answer comes out intact in every file, or is refused with a line and leaves nothing behind."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml

import local_extensions
from tests.conftest import TEMPLATE, Bake, as_cloned, bake_into
from tests.render import gates

LINES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"])).filter(
    lambda text: not re.search("[\ufffe\uffff]", text)
)
DEFAULTS = json.loads((TEMPLATE / "cookiecutter.json").read_text("utf-8"))
GOOD = {
    "project_name": "Flight Delays",
    "project_slug": "flight-delays",
    "package_name": "flight_delays",
    "task": "regression",
    "framework": "xgboost",
    "description": "Late or not?",
    "author_name": "Ada Lovelace",
    "author_email": "ada@example.com",
    "data_science_team": "@example/data-science",
    "deployment_team": "@example/deployment",
    "ci": "github-actions",
    "license": "MIT",
    "python_version": "3.13",
    "aws_region": "eu-central-1",
    "artifact_bucket": "",
}
HOSTILE = [
    'say "hello"',
    "it's '''fine'''",
    '"""a',
    r"C:\new\table \N{DASH} \u0041 \x",
    "🚀 👩‍💻 flag 🇳🇿",
    "طيران متأخر",
    "left \u202eright\u202c left",
    "航班延误 é e\u0301",
    "# not a comment",
    "- not: a list",
    "+ 1",
    "12. not a list",
    "= 1 =",
    "{a: 1} [b](c) ![d](e)",
    "*a* _b_ **c** `d` ~~e~~ | f |",
    "<b>&amp;</b> <!-- a -->",
    "${HOME} $(id) %PATH% %s {0} `id`",
    "null",
    "1e3",
    "}} %} #} a",
    "\u00a0a\u00ad\ufeff1".strip(),
    "n" * 80,
]


def intact(plain: Any, hostile: Any, values: dict[str, str]) -> bool:
    """Whether two structures differ only by the values where the first has their keys."""
    if isinstance(plain, str) and isinstance(hostile, str):
        for word, value in values.items():
            plain = plain.replace(word, value)
        return bool(plain == hostile)
    if isinstance(plain, dict) and isinstance(hostile, dict):
        return intact(list(plain.items()), list(hostile.items()), values)
    if isinstance(plain, list | tuple) and isinstance(hostile, list | tuple):
        pairs = zip(plain, hostile, strict=False)
        return len(plain) == len(hostile) and all(intact(*pair, values) for pair in pairs)
    return bool(plain == hostile)


def read(name: str, text: str) -> Any:
    """Read a file as its readers do: data as data, Python as constants, Markdown as a page."""
    suffix = Path(name).suffix
    if suffix == ".py":
        return [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
    if suffix == ".md":
        return MarkdownIt().enable("table").render(text)
    return gates.READERS.get(suffix, str)(text)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    names = {"project_name": "Plain", "description": "Plain", "author_name": "Holder"}
    folder = tmp_path_factory.mktemp("plain") / "bake"
    return gates.texts(bake_into(folder, **names, project_slug="sly", package_name="sly"))


@pytest.mark.parametrize("value", HOSTILE)
def test_free_text_comes_out_intact_in_every_file(
    value: str, plain: dict[str, str], bake: Bake
) -> None:
    holder = re.sub("[<>]", "", value)
    names = {"project_name": value, "description": value, "author_name": holder}
    hostile = gates.texts(bake(**names, project_slug="sly", package_name="sly"))
    assert plain.keys() == hostile.keys()
    changed = [name for name in plain if plain[name] != hostile[name]]
    assert {"README.md", "LICENSE", "pyproject.toml"} <= set(changed)
    for name in changed:
        shown = escapeHtml(value) if name.endswith(".md") else value
        values = {"Plain": shown, "Holder": holder}
        assert intact(read(name, plain[name]), read(name, hostile[name]), values), name


@given(LINES)
def test_a_quoted_text_is_read_back_by_every_language(text: str) -> None:
    quoted = local_extensions.quote(text)
    assert tomllib.loads(f"x = {quoted}") == {"x": text}
    assert yaml.safe_load(f"x: {quoted}") == {"x": text}
    assert json.loads(quoted) == text
    assert ast.literal_eval(quoted) == text


@given(LINES)
def test_whatever_the_project_is_called_its_derived_names_are_allowed(name: str) -> None:
    slug = local_extensions.slug(name)
    derived = {"project_slug": slug, "package_name": local_extensions.package(slug)}
    assert local_extensions.problems(GOOD | derived) == []


@pytest.mark.parametrize(
    ("name", "slug", "package"),
    [
        ("Flight Delays", "flight-delays", "flight_delays"),
        ("3D Models", "d-models", "d_models"),
        ("航班延误", "hang-ban-yan-wu", "hang_ban_yan_wu"),
        ("🚀", "model", "model"),
        ("NumPy", "numpy-model", "numpy_model"),
        ("Statistics", "statistics", "statistics_model"),
        ("Con", "con-model", "con_model"),
        ("word " * 20, "word-" * 11 + "word", "word_" * 7 + "word"),
    ],
)
def test_names_are_derived_as_a_person_would(name: str, slug: str, package: str) -> None:
    assert local_extensions.slug(name) == slug
    assert local_extensions.package(slug) == package


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("project_name", "x"),
        ("project_name", "n" * 80),
        ("project_slug", "a"),
        ("project_slug", "a1-b2"),
        ("package_name", "a_1"),
        ("author_email", "o'neil.x+y@mail.example.co.uk"),
        ("data_science_team", "@A-1/team_2"),
        ("aws_region", "us-gov-west-1"),
        ("aws_region", "ap-southeast-7"),
        ("artifact_bucket", "my.bucket-1"),
        ("artifact_bucket", "b" * 63),
    ],
)
def test_a_legal_answer_is_taken(name: str, value: str) -> None:
    assert local_extensions.problems(GOOD | {name: value}) == []


REFUSED = {
    "project_name": [
        "",
        " ",
        " a",
        "a ",
        "n" * 81,
        "a\nb",
        "a\tb",
        "a\x7f",
        "a\u2028b",
        "…",
        "\udcff1",
    ],
    "project_slug": [
        *("", "A", "1a", "-a", "a-", "a--b", "a_b", "a.b", "a b", "ä", "s" * 61),
        *("../x", "/tmp/x", "a/b", "a\\b", ".", "con", "lpt1", "numpy", "scikit-learn"),
    ],
    "package_name": [
        *("", "A", "1a", "_a", "a-b", "a.b", "ä", "p" * 41, "class", "match", "None", "nul"),
        *("statistics", "distutils", "telnetlib", "numpy", "sklearn", "yaml", "git", "google"),
        *("sqlalchemy", "tests", "src", "conf", "data", "bootstrap"),
    ],
    "description": ["", "d" * 201, "a\r\nb"],
    "author_name": ["", "<>", "...", "n" * 81, "Ada <ada@example.com>", "<Ada", "Ada>"],
    "author_email": [
        *("", "a", "a@", "@b.c", "a@b", "a@b.c", "a b@c.de", "a@b..de", ".a@b.de", "a..b@c.de"),
        *("a@-b.de", "a@b.de\n", "A <a@b.de>", "ä@b.de", "a" * 250 + "@b.de"),
    ],
    "data_science_team": [
        "",
        "team",
        "@org",
        "@org/",
        "org/team",
        "@-o/t",
        "@o--o/t",
        "@o/t t",
        "@o/t/u",
    ],
    "deployment_team": ["@" + "o" * 40 + "/t", "@o/-t", "@o/t\n"],
    "task": ["", "ranking", "Regression"],
    "framework": ["", "sklearn", "XGBoost"],
    "ci": ["", "jenkins", "gitlab"],
    "license": ["", "GPL", "mit"],
    "python_version": ["3.10", "3"],
    "aws_region": ["", "eu", "eu-central", "EU-central-1", "eu-central-1a", "eu_central_1"],
    "artifact_bucket": [
        *("ab", "b" * 64, "Bucket", "a_b", "-ab", "ab-", ".ab", "a..b", "192.168.0.1", "s3://abc"),
        *("xn--abc", "sthree-abc", "amzn-s3-demo-abc", "abc-s3alias", "abc--ol-s3", "abc.mrap"),
        *("abc--x-s3", "abc--table-s3", "abc\n"),
    ],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in REFUSED.items() for value in values]
)
def test_an_answer_against_the_rules_is_refused_with_one_line(name: str, value: str) -> None:
    (line,) = local_extensions.problems(GOOD | {name: value})
    assert line.startswith(f"{name}: {value!r:.60}"[:60])
    assert line.endswith(f": {local_extensions.RULES[name][1]}")
    assert line.isprintable()


@pytest.mark.parametrize(
    ("team", "legal"),
    [
        ("@group", True),
        ("@my.company/data/crane-team_1", True),
        *[
            (team, False)
            for team in ("", "@", "group", "@a/", "@/a", "@a b", "@-a", "@a.", "@a//b")
        ],
    ],
)
def test_a_team_on_gitlab_is_a_group_at_any_depth(team: str, legal: bool) -> None:
    answers = GOOD | {"ci": "gitlab-ci", "deployment_team": team}
    line = f"deployment_team: {team!r}: a group as @group or @group/subgroup"
    assert local_extensions.problems(answers) == ([] if legal else [line])


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("value", ["a {{ b", "a {% b", "a {# b"])
def test_jinja_is_refused_in_every_answer(name: str, value: str) -> None:
    assert local_extensions.problems(GOOD | {name: value}) == [
        f"{name}: {value!r}: a text without {{{{, {{% and {{#"
    ]


def test_every_question_has_a_rule_and_a_prompt() -> None:
    questions = [name for name in DEFAULTS if not name.startswith("_")]
    assert {*questions} == local_extensions.RULES.keys() == GOOD.keys()
    prompts = DEFAULTS["__prompts__"]
    assert [*prompts] == questions
    # rich takes what stands in square brackets for markup and drops it.
    assert "[" not in "".join(str(prompt) for prompt in prompts.values())
    assert list(DEFAULTS)[len(questions)] == "__year", "the last answer must be followed by a text"


Way = Callable[[Path, dict[str, Any]], list[str]]


def by_command_line(folder: Path, answers: dict[str, Any]) -> list[str]:
    return ["--no-input", *(f"{name}={value}" for name, value in answers.items())]


def by_config_file(folder: Path, answers: dict[str, Any]) -> list[str]:
    (folder / "config.yaml").write_text(yaml.safe_dump({"default_context": answers}))
    return ["--no-input", "--config-file", str(folder / "config.yaml")]


def by_replay_file(folder: Path, answers: dict[str, Any]) -> list[str]:
    context = {"cookiecutter": GOOD | {"_extensions": DEFAULTS["_extensions"]} | answers}
    (folder / "replay.json").write_text(json.dumps(context))
    return ["--replay-file", str(folder / "replay.json")]


def cookiecutter(
    folder: Path, *arguments: str, typed: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run cookiecutter as a user does, at home in a folder of its own."""
    command = [sys.executable, "-m", "cookiecutter", str(as_cloned()), *arguments]
    home = {"HOME": str(folder), "USERPROFILE": str(folder), "TMPDIR": str(folder)}
    return subprocess.run(
        command,
        cwd=folder / "work" / "here",
        env=os.environ | home | {"PWD": str(folder / "work" / "here")},
        input=typed,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "work" / "here").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("way", [by_command_line, by_config_file, by_replay_file])
@pytest.mark.parametrize(
    "answers",
    [
        {"project_slug": "../x"},
        {"project_slug": "../../../x"},
        {"project_slug": "{tmp}/x"},
        {"project_slug": "x/y", "author_email": "nobody", "description": "a\nb"},
        {"project_name": "{{ 7 * 7 }}", "author_name": "{% endraw %}", "description": "{# a #}"},
        {"project_name": "{{ cookiecutter.author_name }}"},
        {"__year": "overridden", "aws_region": "moon"},
    ],
)
def test_a_refused_bake_says_one_line_an_answer_and_leaves_nothing(
    way: Way, answers: dict[str, str], home: Path
) -> None:
    answers = {name: text.replace("{tmp}", str(home)) for name, text in answers.items()}
    arguments = way(home, answers)
    before = {*home.rglob("*")}
    done = cookiecutter(home, *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    bad = answers.keys() & local_extensions.RULES.keys()
    assert {line.split(":")[0] for line in done.stderr.splitlines()} == bad
    assert len(done.stderr.splitlines()) == len(bad)
    # cookiecutter keeps what it replays before it asks the template.
    memory = home / ".cookiecutter_replay"
    kept = {memory, memory / "replay.json"} if way is by_replay_file else set()
    assert {*home.rglob("*")} - before <= kept


def test_an_answer_that_is_no_text_is_refused(home: Path) -> None:
    arguments = by_config_file(home, {"author_name": True, "description": None})
    done = cookiecutter(home, *arguments)
    assert done.stderr == "description: None: a text\nauthor_name: True: a text\n"


def test_a_choice_that_is_none_leaves_nothing(home: Path) -> None:
    before = sorted(home.rglob("*"))
    done = cookiecutter(home, "--no-input", "license=GPL")
    assert done.returncode == 1
    assert "GPL provided for choice variable license, but the choices are" in done.stderr
    assert sorted(home.rglob("*")) == before


def test_typed_answers_are_checked_and_the_questions_are_for_people(home: Path) -> None:
    typed = "\n".join(["{{ 7 }}", *[""] * (len(DEFAULTS["__prompts__"]) - 1)]) + "\n"
    done = cookiecutter(home, typed=typed)
    assert done.returncode == 1
    assert "project_name: '{{ 7 }}': a text without {{, {% and {#" in done.stderr
    for prompt in DEFAULTS["__prompts__"].values():
        asked = prompt if isinstance(prompt, str) else prompt["__prompt__"]
        assert asked in " ".join(done.stdout.split())
    assert not any((home / "work").rglob("*/*"))


def test_hostile_text_passes_by_command_line_and_by_config_file(home: Path) -> None:
    answers = {"project_name": HOSTILE[0], "description": HOSTILE[4], "author_name": HOSTILE[5]}
    for slug, way in {"one": by_command_line, "two": by_config_file}.items():
        done = cookiecutter(home, *way(home, answers | {"project_slug": slug}))
        assert done.returncode == 0, done.stderr
        settings = tomllib.loads(
            (home / "work" / "here" / slug / "pyproject.toml").read_text("utf-8")
        )
        assert settings["project"]["description"] == answers["description"]
        assert settings["project"]["authors"][0]["name"] == answers["author_name"]

"""An answer comes out intact in every file, or is refused with a line and leaves nothing behind."""

import ast
import functools
import json
import re
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml

import local_extensions
from tests.combinations import CHOICES
from tests.conftest import TEMPLATE, Bake, bake_into
from tests.render import gates
from tests.render.conftest import at_a_terminal, cookiecutter

LINES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"])).filter(
    lambda text: not re.search("[\ufffe\uffff]", text)
)
DEFAULTS = json.loads((TEMPLATE / "cookiecutter.json").read_text("utf-8"))
GOOD = {name: choices[0] for name, choices in CHOICES.items()} | {
    "project_name": "Flight Delays",
    "project_slug": "flight-delays",
    "package_name": "flight_delays",
    "description": "Late or not?",
    "author_name": "Ada Lovelace",
    "author_email": "ada@example.com",
    "data_science_team": "@example/data-science",
    "deployment_team": "@example/deployment",
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


def intact(plain: Any, hostile: Any, values: Mapping[str, str]) -> bool:
    """Whether two structures differ only by the values that stand where the first has a mark."""
    if isinstance(plain, str) and isinstance(hostile, str):
        marks = "|".join(re.escape(mark) for mark in values)
        return re.sub(marks, lambda found: values[found[0]], plain) == hostile
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


MARKS = {
    "project_name": "Plain name",
    "project_slug": "plain-slug",
    "package_name": "plain_package",
    "description": "Plain description",
    "author_name": "Plain author",
    "author_email": "plain@plain.example",
    "data_science_team": "@plain/science",
    "deployment_team": "@plain/delivery",
    "aws_region": "pl-plain-1",
    "artifact_bucket": "plain-bucket",
}
FREE = ("project_name", "description", "author_name")


@functools.cache
def plain(with_bucket: bool) -> dict[str, str]:
    """A bake whose answers are marks."""
    marks = MARKS if with_bucket else MARKS | {"artifact_bucket": ""}
    with tempfile.TemporaryDirectory() as folder:
        return gates.texts(bake_into(Path(folder, "bake"), **marks))


def mangled(project: Path, answers: Mapping[str, str]) -> list[str]:
    """Find files that do not hold, word for word, the answers where those of `plain` have marks."""
    texts = {mark: answers[name] for name, mark in MARKS.items()}
    pages = {mark: escapeHtml(text) for mark, text in texts.items()}
    found = gates.texts(project)
    faults = []
    for marked, before in plain(bool(answers["artifact_bucket"])).items():
        name = marked.replace(MARKS["package_name"], answers["package_name"])
        after = found.pop(name, None)
        if after is None:
            faults.append(f"{name}: missing")
        elif not any(mark in before for mark in MARKS.values()):
            faults += [name] * (after != before)
        elif not intact(
            read(name, before), read(name, after), pages if name.endswith(".md") else texts
        ):
            faults.append(name)
    return faults + [f"{name}: too much" for name in found]


@pytest.mark.parametrize("value", HOSTILE)
def test_free_text_comes_out_intact_in_every_file(value: str, bake: Bake) -> None:
    answers = MARKS | dict.fromkeys(FREE, value) | {"author_name": re.sub("[<>]", "", value)}
    project = bake(**answers)
    assert mangled(project, answers) == []
    for name in ("README.md", "LICENSE", "pyproject.toml"):
        assert (project / name).read_text("utf-8") != plain(True)[name]


def test_a_text_that_is_lost_is_seen(bake: Bake) -> None:
    project = bake(**MARKS)
    page = project / "README.md"
    page.write_text(page.read_text("utf-8").replace(MARKS["description"], "Plain"), "utf-8")
    assert mangled(project, MARKS) == ["README.md"]


def lines(name: str) -> st.SearchStrategy[str]:
    punctuation = st.text("\"'\\`#$%<>&*_|~[]{}()!:;,-+= a1é🚀")
    texts = LINES | st.sampled_from(HOSTILE) | punctuation
    return texts.filter(local_extensions.RULES[name][0])


LEGAL = {
    "project_name": lines("project_name"),
    "project_slug": st.from_regex("[a-z][a-z0-9]*(-[a-z0-9]+)*", fullmatch=True),
    "package_name": st.from_regex("[a-z][a-z0-9_]{0,39}", fullmatch=True),
    "description": lines("description"),
    "author_name": lines("author_name"),
    "author_email": st.emails(domains=st.sampled_from(["example.com", "b.co.uk", "x-1.museum"])),
    "data_science_team": st.from_regex(
        "@[a-z0-9]{1,39}/[a-z0-9][a-zA-Z0-9_-]{0,99}", fullmatch=True
    ),
    "deployment_team": st.from_regex("@[A-Z]{1,39}/[a-z0-9][a-z0-9_-]{0,99}", fullmatch=True),
    "aws_region": st.sampled_from(["us-gov-west-1", "ap-southeast-7", "mx-central-1"]),
    "artifact_bucket": st.just("")
    | st.from_regex("[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", fullmatch=True),
}
ANYTHING = st.text(max_size=250) | st.sampled_from(
    ["{{ 1 }}", "../x", "a\nb", "\0", "numpy", "con"]
)


def test_the_property_speaks_of_every_question_that_is_answered_by_a_text() -> None:
    questions = {name for name in DEFAULTS if not name.startswith("_")}
    assert questions - CHOICES.keys() == LEGAL.keys() == MARKS.keys()


# What hypothesis makes smaller is a bake each time: the first that fails says enough.
@settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    st.fixed_dictionaries(LEGAL),
    st.just({}) | st.dictionaries(st.sampled_from([*LEGAL]), ANYTHING, max_size=3),
)
def test_whatever_is_answered_it_is_refused_or_the_project_is_sound(
    legal: dict[str, str], spoilt: dict[str, str]
) -> None:
    answers = legal | spoilt
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "bake")
        try:
            project = bake_into(folder, **answers)
        except SystemExit as refusal:
            said = str(refusal).split("\n")
            assert {line.partition(":")[0] for line in said} <= answers.keys()
            assert len({line.partition(":")[0] for line in said}) == len(said)
            assert all(line.isprintable() for line in said)
            assert not folder.exists()
        else:
            event("baked")
            assert mangled(project, answers) == []
            # What was typed is exact by now, and may hold gaps; all around it has to be tidy.
            for page in project.rglob("*.md"):
                text = page.read_text("utf-8")
                for name in FREE:
                    text = text.replace(local_extensions.markdown(answers[name]), "typed")
                page.write_text(text, "utf-8")
            for gate in (gates.unreadable, gates.leftovers, gates.untidy, gates.unlinted):
                assert gate(project) == [], gate.__name__
            assert gates.unsafe_names(gates.files(project)) == []


def test_a_team_with_underscores_comes_out_intact(bake: Bake) -> None:
    answers = MARKS | {"data_science_team": "@a/b-_c_", "deployment_team": "@a/d-_e_"}
    assert mangled(bake(**answers), answers) == []


@given(st.fixed_dictionaries(dict.fromkeys(LEGAL, ANYTHING)))
def test_each_bad_answer_is_one_line_and_no_other_is(answers: dict[str, str]) -> None:
    together = local_extensions.problems(GOOD | answers)
    alone = [local_extensions.problems(GOOD | {name: text}) for name, text in answers.items()]
    assert sorted(together) == sorted(line for lines in alone for line in lines)
    assert all(len(lines) <= 1 for lines in alone)


NAMES = {
    "3D Printers": "d_printers",
    "航班延误": "hang_ban_yan_wu",
    "class": "class_model",
    "None": "none",
    "con": "con_model",
    "test": "test_model",
    "numpy": "numpy_model",
    "training": "training",
    "HARBOUR Cranes": "harbour_cranes",
    "trailing-": "trailing",
    "-": "",
    "n" * 200: "",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_nobody_expected_makes_a_sound_project_or_one_line(
    name: str, bake: Bake
) -> None:
    if not NAMES[name]:
        line = r"\Aproject_name: .+ is not valid\. Expected one line of .+\Z"
        with pytest.raises(SystemExit, match=line):
            bake(project_name=name)
        return
    project = bake(project_name=name)
    assert [folder.name for folder in (project / "src").iterdir()] == [NAMES[name]]
    for gate in (gates.unreadable, gates.leftovers, gates.untidy, gates.unlinted):
        assert gate(project) == [], gate.__name__


def test_a_package_can_be_called_like_another_answer(bake: Bake) -> None:
    project = bake(project_name="crane", project_slug="crane", package_name="crane")
    assert (project / "src" / "crane" / "schema.py").is_file()
    assert gates.unlinted(project) == []


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
        ("word " * 20, "word-" * 8 + "word", "word_" * 7 + "word"),
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
        *("sqlalchemy", "test", "tests", "src", "conf", "data", "bootstrap"),
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
    assert line.endswith(f" is not valid. Expected {local_extensions.RULES[name][1]}.")
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
    expected = "a group such as @group or @group/subgroup"
    line = f"deployment_team: {team!r} is not valid. Expected {expected}."
    assert local_extensions.problems(answers) == ([] if legal else [line])


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("value", ["a {{ b", "a {% b", "a {# b"])
def test_jinja_is_refused_in_every_answer(name: str, value: str) -> None:
    assert local_extensions.problems(GOOD | {name: value}) == [
        f"{name}: {value!r} is not valid. Expected a text without {{{{, {{% and {{#."
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
    (folder / "config.yaml").write_text(
        yaml.safe_dump({"default_context": answers}, sort_keys=False)
    )
    return ["--no-input", "--config-file", str(folder / "config.yaml")]


def by_replay_file(folder: Path, answers: dict[str, Any]) -> list[str]:
    context = {"cookiecutter": GOOD | {"_extensions": DEFAULTS["_extensions"]} | answers}
    (folder / "replay.json").write_text(json.dumps(context))
    return ["--replay-file", str(folder / "replay.json")]


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
    assert done.stderr == (
        "description: None is not valid. Expected a text.\n"
        "author_name: True is not valid. Expected a text.\n"
    )


def test_a_choice_that_is_none_leaves_nothing(home: Path) -> None:
    before = sorted(home.rglob("*"))
    done = cookiecutter(home, "--no-input", "license=GPL")
    assert done.returncode == 1
    assert "GPL provided for choice variable license, but the choices are" in done.stderr
    assert sorted(home.rglob("*")) == before


def test_an_answer_to_no_question_is_refused_with_one_line(home: Path) -> None:
    done = cookiecutter(home, "--no-input", "licence=MIT", "task=regression")
    assert done.returncode == 1
    assert done.stderr == (
        "licence: there is no such question. The questions are: "
        f"{', '.join(local_extensions.RULES)}.\n"
    )
    assert not any((home / "work" / "here").iterdir())


def test_typed_answers_are_checked_and_the_questions_are_for_people(home: Path) -> None:
    typed = "\n".join(["{{ 7 }}", *[""] * (len(DEFAULTS["__prompts__"]) - 1)]) + "\n"
    done = cookiecutter(home, typed=typed)
    assert done.returncode == 1
    assert "project_name: '{{ 7 }}' is not valid. Expected a text without {{" in done.stderr
    for prompt in DEFAULTS["__prompts__"].values():
        asked = prompt if isinstance(prompt, str) else prompt["__prompt__"]
        assert asked in " ".join(done.stdout.split())
    assert not any((home / "work").rglob("*/*"))


ANSWERED = MARKS | {
    "project_name": "".join(HOSTILE[:2]),
    "description": " ".join([*HOSTILE[3:7], HOSTILE[14], HOSTILE[16]]),
    "author_name": HOSTILE[5] + HOSTILE[7],
    "project_slug": "n" * 48,
    "package_name": "training",
}


@pytest.mark.parametrize("way", [by_command_line, by_config_file, by_replay_file])
def test_hostile_text_passes_each_way_in(way: Way, home: Path) -> None:
    done = cookiecutter(home, *way(home, ANSWERED))
    assert (done.returncode, done.stderr) == (0, "")
    assert mangled(home / "work" / "here" / ANSWERED["project_slug"], ANSWERED) == []


def test_hostile_text_typed_at_a_terminal_passes_and_can_be_replayed(home: Path) -> None:
    questions = [name for name in DEFAULTS if not name.startswith("_")]
    status, shown = at_a_terminal(home, [ANSWERED.get(name, "1") for name in questions])
    assert status == 0, shown
    here = home / "work" / "here"
    assert mangled(here / ANSWERED["project_slug"], ANSWERED) == []
    done = cookiecutter(home, "--replay", "--output-dir", "again")
    assert (done.returncode, done.stderr) == (0, "")
    assert mangled(here / "again" / ANSWERED["project_slug"], ANSWERED) == []


def test_an_answer_typed_at_a_terminal_is_refused_with_one_line(home: Path) -> None:
    status, shown = at_a_terminal(home, ["numpy", "numpy", *[""] * (len(GOOD) - 2)])
    assert status == 1
    *_, last = shown.strip().splitlines()
    assert last.startswith("project_slug: 'numpy' is not valid. Expected a to z, 0 to 9")
    assert "Traceback" not in shown
    assert not any((home / "work" / "here").iterdir())


@pytest.mark.parametrize("answers", [{"license": "GPL"}, {"python_version": 3.12}])
def test_a_choice_in_a_configuration_file_that_is_none_is_refused(
    answers: dict[str, Any], home: Path
) -> None:
    # cookiecutter itself only warns, and takes its own default for all that stands after it.
    done = cookiecutter(home, *by_config_file(home, answers | {"artifact_bucket": "my-bucket"}))
    assert done.returncode == 1
    (name, value), *_ = answers.items()
    line = done.stderr.splitlines()[-1]
    assert line.startswith(f"{value} provided for choice variable {name}, but the choices are")
    assert line.endswith("--default-config. All later answers were ignored.")
    assert not any((home / "work" / "here").iterdir())

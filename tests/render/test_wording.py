"""The words that users read: plain English, and commit subjects that fit a line."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import TEMPLATE, as_cloned

# What readers stumbled over, and what to write instead.
BANNED = {
    r"\banew\b": "again",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bbears? (missing|midnight|null)": "handles",
    r"\b(stands?|lies|lie) in\b": "is in",
    r"\bcounts? before\b": "takes precedence over",
    r"\b(brings?|brought) (it |them )?out\b": "roll out",
    r"\bbrings? (the |an )?[a-z ]*version back\b": "roll back",
    r"\balarms? (that )?rings?\b|\bring an alarm\b": "an alarm fires",
    r"\baloud\b": "with a message",
    r"\bends well\b": "exits successfully",
    r"\bwhat is said above\b": "the error above",
    r"\ba look at each moment\b": "repeated looks",
    r"\$ a (month|hour)\b|\bbytes a row\b|\brequests a minute\b": "per",
}
READ_BY_USERS = (
    "*.md",
    "docs/*.md",
    "cookiecutter.json",
    "local_extensions.py",
    "hooks/*.py",
    "src/**/*.py",
    "{{cookiecutter.project_slug}}/**/*",
)
BINARY = {".parquet", ".lock", ".whl"}
SINCE = "2026-11-30T00:00:00"  # older commits are as they are
LONGEST = 72


def stumbled_over(name: str, text: str) -> list[str]:
    """Find words that readers stumbled over."""
    return [
        f"{name}:{number}: {match[0]!r}: write {better!r}"
        for number, line in enumerate(text.splitlines(), 1)
        for banned, better in BANNED.items()
        for match in re.finditer(banned, line, re.IGNORECASE)
    ]


def test_users_read_plain_words() -> None:
    root = as_cloned()
    files = {file for pattern in READ_BY_USERS for file in root.glob(pattern) if file.is_file()}
    texts = {
        str(file.relative_to(root)): file.read_text("utf-8")
        for file in sorted(files)
        if file.suffix not in BINARY and "poetry.lock" not in file.name
    }
    assert len(texts) > 100
    assert [fault for name, text in texts.items() for fault in stumbled_over(name, text)] == []


@pytest.mark.parametrize(
    "line", ["Mend what is broken.", "It is made anew.", "the alarm that rings", "700 bytes a row"]
)
def test_a_word_that_readers_stumble_over_is_found(line: str) -> None:
    assert stumbled_over("x.md", f"Text\n{line}\n")[0].startswith("x.md:2: ")


def long_subjects(repository: Path) -> list[str]:
    """Find subjects of recent commits that do not fit a line."""
    log = ["git", "log", "--no-merges", f"--since={SINCE}", "--format=%s"]
    subjects = subprocess.check_output(log, cwd=repository, text=True).splitlines()
    return [subject for subject in subjects if len(subject) > LONGEST]


def test_subjects_of_commits_fit_a_line() -> None:
    assert long_subjects(TEMPLATE) == [], f"at most {LONGEST} characters: git rebase --interactive"


def test_a_subject_that_does_not_fit_is_found(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    who = ["-c", "user.name=Zoë", "-c", "user.email=zoe@harbour.example"]
    for subject in ("fix: a", "fix: " + "a" * 70):
        commit = ["commit", "--quiet", "--allow-empty", "--message", subject]
        subprocess.run(["git", *who, *commit], cwd=tmp_path, check=True)
    assert long_subjects(tmp_path) == ["fix: " + "a" * 70]

"""The pages that the library carries, as `ml-ready docs` opens them."""

import webbrowser
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from ml_ready import cli, docs


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No page of these tests stays on the machine."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that a browser was given."""
    files: list[Path] = []

    def open_file(address: str) -> bool:
        files.append(Path(urlsplit(address).path))
        return True

    monkeypatch.setattr(webbrowser, "open", open_file)
    return files


def test_a_page_is_opened_with_its_tables_and_its_links(opened: list[Path]) -> None:
    cli.main(["docs"])
    (page,) = opened
    text = page.read_text("utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "<td><code>ml_ready.windows</code></td>" in text
    assert '<a href="versions.html">' in text
    assert page.with_name("versions.html").is_file()


@pytest.mark.parametrize("page", docs.pages())
def test_every_link_between_pages_leads_to_a_page(page: str, opened: list[Path]) -> None:
    docs.main([page])
    links = [part.partition('"')[0] for part in opened[0].read_text("utf-8").split('href="')[1:]]
    for link in links:
        if link.endswith(".html") and ":" not in link:
            assert opened[0].with_name(link).is_file(), link


def test_pages_opened_twice_take_one_place(opened: list[Path]) -> None:
    docs.main(["library"])
    docs.main(["library"])
    assert opened[0] == opened[1]


def test_an_unknown_page_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SystemExit, match="^error: windws: no such page, expected one of .*librar"):
        cli.main(["docs", "windws"])


def test_without_a_browser_the_line_says_where_the_page_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    with pytest.raises(SystemExit, match="Open it by hand, or set BROWSER$") as caught:
        cli.main(["docs"])
    line = str(caught.value.code).partition(". Open")[0]
    assert Path(line.removeprefix("error: no browser opens ")).is_file()

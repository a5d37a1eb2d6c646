"""The documentation pages that the library carries: `ml-ready docs`."""

import argparse
import os
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from markdown_it import MarkdownIt

from .errors import ProjectError

# In the wheel beside this file, in a checkout at its top.
_FOLDERS = (Path(__file__).with_name("pages"), Path(__file__).parents[2] / "docs")
_STYLE = "body { max-width: 50rem; margin: 2rem auto; font-family: sans-serif; line-height: 1.5 }"


def main(arguments: Sequence[str]) -> None:
    """Open a page in the browser.

    Parameters
    ----------
    arguments : sequence of str

    Raises
    ------
    ProjectError
        For an unknown page, or if no browser opens it.
    """
    parser = argparse.ArgumentParser("ml-ready docs", description="Open a page of documentation.")
    parser.add_argument("page", nargs="?", default="library", help=f"one of {', '.join(pages())}")
    page = parser.parse_args(arguments).page
    if page not in pages():
        raise ProjectError(f"{page}: no such page, expected one of {', '.join(pages())}")
    # A place that stays: the browser reads it after this command has ended.
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "ml-ready" / "docs"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / f"{name}.html").write_text(_rendered(name, text), encoding="utf-8")
    shown = folder / f"{page}.html"
    if not webbrowser.open(shown.as_uri()):
        raise ProjectError(f"no browser opens {shown}.", "Open it by hand, or set BROWSER")


def pages() -> dict[str, str]:
    """Return the Markdown of each page, by name.

    Returns
    -------
    dict of str to str
    """
    folder = next(each for each in _FOLDERS if each.is_dir())
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.md"))}


def _rendered(title: str, text: str) -> str:
    """Return a page as HTML; links to other pages lead to their HTML."""
    parser = MarkdownIt("commonmark").enable("table")
    tokens = parser.parse(text)
    for token in (each for parent in tokens for each in parent.children or []):
        target = str(token.attrGet("href") or "")
        if target.endswith(".md") and ":" not in target:
            token.attrSet("href", f"{target.removesuffix('.md')}.html")
    body = parser.renderer.render(tokens, parser.options, {})
    head = f'<meta charset="utf-8"><title>ml-ready: {title}</title><style>{_STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n{body}</body></html>\n'

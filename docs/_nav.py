"""A place on the site for every page. mkdocs calls this."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """mkdocs' event: decisions, and pages that the list in mkdocs.yml does not name yet, get a place."""
    nav: list[Any] = list(config.nav or [])
    docs = Path(config.docs_dir)
    pages = sorted(path.relative_to(docs).as_posix() for path in docs.glob("**/*.md"))
    known = set(_pages(nav))
    decisions = [page for page in pages if page.startswith("adr/")]
    more = [page for page in pages if page not in known and page not in decisions]
    config.nav = [*nav, {"Decisions": decisions}, *([{"More": more}] if more else [])]
    return config


def _pages(entry: object) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    for each in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
        yield from _pages(each)

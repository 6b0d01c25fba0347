"""The parts of the docs that are made from the code are up to date."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.made_docs import ROOT, filled, pages


@pytest.mark.parametrize("path", sorted(pages()), ids=lambda path: path.name)
def test_a_page_is_what_the_code_says(path: Path) -> None:
    assert path.read_text("utf-8") == pages()[path], f"{path.relative_to(ROOT)} is old: run `make reference`"


def test_what_is_made_replaces_what_stood_there() -> None:
    page = filled("a\n<!-- made: statuses -->\nold\n<!-- end -->\nb\n")
    assert "old" not in page
    assert "| ok | nothing speaks against it |" in page
    assert page.startswith("a\n")
    assert page.endswith("b\n")

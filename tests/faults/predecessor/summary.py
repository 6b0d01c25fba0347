"""A Markdown table of results: ``python -m tests.faults.predecessor.summary RESULTS.jsonl ...``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def load(paths: list[Path]) -> list[dict[str, Any]]:
    return [json.loads(line) for path in paths for line in path.read_text("utf-8").splitlines()]


def totals(results: list[dict[str, Any]]) -> list[str]:
    """One row for each fault."""
    lines = ["| fault | trials | with a violation | not judged | most memory |", "|---|---|---|---|---|"]
    for fault in dict.fromkeys(each["fault"] for each in results):
        mine = [each for each in results if each["fault"] == fault]
        bad = sum(bool(each["violations"]) for each in mine)
        broken = sum(each["harness error"] is not None for each in mine)
        memory = max(each["peak MiB"] for each in mine)
        lines.append(f"| {fault} | {len(mine)} | {bad} | {broken} | {memory} MiB |")
    return lines


def trials(results: list[dict[str, Any]]) -> list[str]:
    """One row for each trial."""
    lines = ["| fault | seed | what was done and seen | violations |", "|---|---|---|---|"]
    for each in results:
        seen = "; ".join(f"{name}: {value}" for name, value in each["seen"].items() if value not in (0, False))
        bad = "; ".join(each["violations"]) or "none"
        lines.append(f"| {each['fault']} | {each['seed']} | {_cell(seen)} | {_cell(bad)} |")
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    found = load([Path(argument) for argument in sys.argv[1:]])
    print("\n".join([*totals(found), "", *trials(found)]))

"""The table at the end of a campaign."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.faults.campaign import Report
from tests.faults.trial import Fault

_HEAD = """\
| # | fault | trials | kills | checks | violations | peak memory | hits per window |
|---|---|---|---|---|---|---|---|"""


def table(faults: Sequence[Fault], reports: Sequence[Report], *, whole: bool) -> tuple[str, bool]:
    """Markdown, and whether everything is good. A ``whole`` campaign must have hit every window of each fault."""
    lines, is_good = [_HEAD], True
    for fault in faults:
        own = [report for report in reports if report.fault == fault.id]
        hits: Counter[str] = Counter()
        for report in own:
            hits.update(report.hits)
        missed = [window for window in fault.windows if not hits[window]] if whole else []
        broken = sum(1 for report in own if report.violation)
        is_good = is_good and not broken and not missed and bool(own)
        told = ", ".join(f"{window} {count:,}" for window, count in sorted(hits.items()))
        told += f" **missed: {', '.join(missed)}**" if missed else ""
        peak = max((report.peak_memory for report in own), default=0) // (1024 * 1024)
        lines.append(
            f"| {fault.id} | {fault.title} | {len(own):,} | {sum(r.kills for r in own):,} | "
            f"{sum(r.checks for r in own):,} | {broken} | {peak} MiB | {told} |"
        )
    return "\n".join(lines), is_good

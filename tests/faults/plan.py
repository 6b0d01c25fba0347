"""Every fault that is tried, in the order of the plan."""

from __future__ import annotations

import importlib
import pkgutil
import re
from functools import cache
from pathlib import Path

from tests.faults.trial import Fault


@cache
def plan() -> dict[str, Fault]:
    """The faults by id; each module ``fNN_*.py`` of this folder has one as ``FAULT``."""
    modules = [each.name for each in pkgutil.iter_modules([str(Path(__file__).parent)])]
    found: list[Fault] = [
        importlib.import_module(f"tests.faults.{name}").FAULT for name in modules if re.fullmatch(r"f\d+_\w+", name)
    ]
    return {fault.id: fault for fault in sorted(found, key=lambda fault: int(fault.id[1:]))}

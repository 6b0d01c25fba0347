"""The public API: a table of contents that costs nothing to open, and types that hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import openmsi_core

ROOT = Path(__file__).resolve().parents[2]
TYPING = ROOT / "tests" / "typing"

LOOKED_AT = """
import logging, os, signal, sys, threading

def opened():
    folder = "/proc/self/fd"
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []

before = opened(), signal.getsignal(signal.SIGTERM), os.getcwd(), dict(os.environ)
{does}
after = opened(), signal.getsignal(signal.SIGTERM), os.getcwd(), dict(os.environ)
assert before == after, (before, after)
assert threading.active_count() == 1, threading.enumerate()
assert not logging.getLogger().handlers and logging.getLogger().level == logging.WARNING
for name in {never}:
    assert not any(module.split(".")[0] == name for module in sys.modules), name + " was loaded"
"""


def looked_at(does: str, never: tuple[str, ...]) -> str:
    """What a fresh interpreter says against it; "" when nothing is wrong."""
    code = LOOKED_AT.format(does=does, never=never)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    return done.stdout + done.stderr


def test_importing_it_starts_nothing_and_loads_nothing() -> None:
    heavy = ("confluent_kafka", "pydantic", "pluggy", "stevedore", "click", "psutil", "socket", "sqlite3", "asyncio")
    assert looked_at("import openmsi_core", heavy) == ""


def test_using_every_name_starts_nothing_and_loads_no_kafka_client() -> None:
    never = ("confluent_kafka", "stevedore", "click", "psutil", "sqlite3", "multiprocessing")
    assert looked_at("from openmsi_core import *\nassert Extractor and hookimpl and Stored", never) == ""


@pytest.mark.parametrize(
    ("does", "word"),
    [("import confluent_kafka", "confluent_kafka"), ("threading.Timer(1, print).start()", "<Timer")],
)
def test_the_look_would_find_what_it_is_there_for(does, word) -> None:
    assert word in looked_at(does, ("confluent_kafka",))


def test_the_names_are_sorted_complete_and_what_they_say() -> None:
    assert list(openmsi_core.__all__) == sorted(openmsi_core.__all__)
    assert set(openmsi_core.__all__) == set(openmsi_core._HOMES)
    assert set(openmsi_core.__all__) >= {
        *("DataFile", "Extractor", "Sink", "Processor", "PluginOptions", "Reject", "RetryLater", "hookimpl"),
        *("Result", "Stored"),
    }
    for name in openmsi_core.__all__:
        assert getattr(openmsi_core, name) is not None
        assert name in dir(openmsi_core)
    with pytest.raises(AttributeError, match="has no attribute 'Extracter'; it has DataFile"):
        openmsi_core.Extracter  # noqa: B018 - asking is the point


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "openmsi_core" / "py.typed").is_file()


@pytest.mark.parametrize("name", ["good.py", "bad.py"])
def test_a_type_checker_accepts_what_authors_write_and_refuses_the_rest(name) -> None:
    words = ["--strict", "--config-file", str(ROOT / "pyproject.toml"), str(TYPING / name)]
    done = subprocess.run([sys.executable, "-m", "mypy", *words], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr

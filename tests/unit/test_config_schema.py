"""`openmsi config schema`: one JSON Schema of the whole configuration, with the options of every installed plugin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib

import pytest
from jsonschema import Draft202012Validator

from tests.plugin_fakes import GOOD, extractor
from tests.unit.test_docs import blocks

OPTIONS = '''
import enum
from typing import Literal
from pydantic import BaseModel, SecretStr
from openmsi_core import Extractor, PluginOptions

class Colour(enum.Enum):
    RED = "red"

class Inner(BaseModel):
    depth: int = 1

class Good(Extractor):
    """Has options."""

    class Options(PluginOptions):
        keep_empty: bool = False
        """Keep what is empty."""
        count: int
        colour: Colour = Colour.RED
        inner: Inner = Inner()
        tags: list[str] = []
        api_key: SecretStr

    def extract(self, file): ...
'''


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The schema with a plugin `rich`, two called `twin`, and a broken one."""
    site = tmp_path_factory.mktemp("site")
    extractor(site, "my-rich", "rich", OPTIONS)
    extractor(site, "my-a", "twin", GOOD)
    extractor(site, "my-b", "twin", GOOD.replace("times", "often"))
    extractor(site, "my-bad", "bad", f"import os\nos._exit(3)\n{GOOD}")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "openmsi_core", "config", "schema", "--timeout", "60"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == "openmsi: my-bad/bad: fails on import: importing it ends the process with exit code 3\n"
    found: dict[str, object] = json.loads(done.stdout)
    Draft202012Validator.check_schema(found)
    return found


def wrong(schema: dict[str, object], text: str) -> list[str]:
    """Where a configuration is wrong by the schema."""
    errors = Draft202012Validator(schema).iter_errors(tomllib.loads(text))
    return ["/".join(map(str, error.absolute_path)) for error in errors]


@pytest.mark.parametrize(
    "text",
    [
        "",
        '[kafka]\nbootstrap.servers = "b:1"\nlinger.ms = 5\n"sasl.password" = "${X}"\nenable.x = true\na = ["b"]\n',
        '[watch.x]\npath = "D:/data"\nsettle = "3s"\nchunk = "512KiB"\nrescan = 2.5\ninclude = ["*.x"]\n',
        '[run.disk]\ntopic = "t"\nmax-file-size = 100\n[run.disk.options]\nfolder = "x"\n',
        '[run.a]\nplugin = "openmsi/disk"\n[run.a.options]\non-conflict = "refuse"\n',
        '[run.rich.options]\ncount = 3\nkeep-empty = true\ntags = ["a"]\ninner.depth = 2\ncolour = "red"\n',
        '[run.rich.options]\ncount = "${COUNT}"\napi-key = "${KEY}"\n',
        '[run."my-b/twin".options]\noften = 2\n',
        "[run.twin.options]\nanything = 2\n",
        "[run.bad.options]\nanything = 2\n",
        '[run.x]\nplugin = "not-here"\n[run.x.options]\nanything = 2\n',
    ],
)
def test_what_is_right_is_taken(schema: dict[str, object], text: str) -> None:
    assert wrong(schema, text) == []


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[watc.x]\n", ""),
        ('[watch.x]\npath = "a"\ntopc = "t"\n', "watch/x"),
        ('[run.x]\nworkers = "4"\n', "run/x/workers"),
        ('[run.x]\nmemory-limit = "much"\n', "run/x/memory-limit"),
        ('[run.disk.options]\nfoldr = "x"\n', "run/disk/options"),
        ('[run.a]\nplugin = "disk"\n[run.a.options]\non-conflict = "ask"\n', "run/a/options/on-conflict"),
        ('[run.rich.options]\ncount = "many"\n', "run/rich/options/count"),
        ('[run.rich.options]\ninner.depth = "x"\n', "run/rich/options/inner/depth"),
        ('[run.rich.options]\ncolour = "blue"\n', "run/rich/options/colour"),
        ('[run.rich.options]\napi-key = "hush"\n', "run/rich/options/api-key"),
        ('[run."my-b/twin".options]\ntimes = 2\n', "run/my-b/twin/options"),
    ],
)
def test_what_is_wrong_is_found_where_it_stands(schema: dict[str, object], text: str, where: str) -> None:
    assert wrong(schema, text) == [where]


def test_the_options_are_described_for_who_completes_with_it(schema: dict[str, object]) -> None:
    keep = schema["$defs"]["options.rich"]["properties"]["keep-empty"]  # type: ignore[index]
    assert (keep["description"], keep["default"]) == ("Keep what is empty.", False)


def test_every_configuration_in_the_docs_is_right_by_it(schema: dict[str, object]) -> None:
    shown = blocks("toml")
    assert shown
    for page, text in shown:
        assert wrong(schema, text) == [], page

"""What the docs and docstrings show is run."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import pkgutil
import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import openmsi_core
import openmsi_plugins
from openmsi_core.cli import COMMANDS, openmsi
from openmsi_core.plugins.loader import options_of
from openmsi_core.plugins.options import flags_of
from openmsi_core.settings import CryptoSettings, RunSettings, WatchSettings, bytes_of, load, seconds_of
from openmsi_core.settings.tables import Document

ROOT = Path(__file__).resolve().parents[2]
ONES_OWN = {"run", "try", "check"}  # commands that take the options of the plugin they name
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
MODULES = sorted(
    module.name
    for package in (openmsi_core, openmsi_plugins)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not module.name.endswith(("__main__", "keeper"))
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name) -> None:
    assert doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS).failed == 0


def blocks(language: str) -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for text in re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE):
            found += [(page.relative_to(ROOT).as_posix(), text)]
    return found


@pytest.mark.parametrize(("page", "text"), blocks("python"))
def test_python_on_the_pages_runs(page, text) -> None:
    exec(compile(text, page, "exec"), {"__name__": "page"})  # noqa: S102 - our own pages


@pytest.mark.parametrize(("page", "text"), blocks("toml"))
def test_configuration_on_the_pages_is_valid(page, text, tmp_path) -> None:
    file = tmp_path / "openmsi.toml"
    file.write_text(text, "utf-8")
    settings = load(file, environ={"XRD_PC_PASSWORD": "8675309", "GIRDER_API_KEY": "a-key"})
    if page == "README.md":
        assert settings.kafka["sasl.password"] == "8675309"
        assert settings.run["xrd-extractor"].output_topic == "xrd-metadata"


@pytest.mark.parametrize(
    ("model", "title"),
    [
        (WatchSettings, "## `[watch.NAME]`"),
        (RunSettings, "## `[run.NAME]`"),
        (CryptoSettings, "## `[crypto]`"),
        (Document, "## Everything"),
    ],
)
def test_every_setting_stands_on_its_page_with_its_default(model, title) -> None:
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    part = page.partition(title)[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (.*?) \|", part, re.MULTILINE))
    assert set(rows) == {field.alias or name for name, field in model.model_fields.items()}
    for name, field in model.model_fields.items():
        if isinstance(field.default, bool | int | float):
            written = rows[field.alias or name]
            assert str(field.default).lower() == written or field.default in {_size(written), _span(written)}, name
        elif field.default and isinstance(field.default, str):
            assert rows[field.alias or name] == field.default


def _size(text: str) -> object:
    try:
        return bytes_of(text)
    except ValueError:
        return None


def _span(text: str) -> object:
    try:
        return seconds_of(text)
    except ValueError:
        return None


@pytest.mark.parametrize("name", ["OPENMSI_BROKER", "OPENMSI_CONFIG", "OPENMSI_STATE", "OPENMSI_PLUGIN__..."])
def test_every_variable_stands_on_its_page(name) -> None:
    assert f"| `{name}` |" in (ROOT / "docs" / "configuration.md").read_text("utf-8")


def test_the_life_of_a_file_names_what_exists() -> None:
    code = "\n".join(path.read_text("utf-8") for path in ROOT.glob("openmsi_*/**/*.py"))
    page = (ROOT / "docs" / "design" / "life-of-a-file.md").read_text("utf-8")
    for name in re.findall(r"`([A-Za-z_.]+)`", page):
        for part in name.split("."):
            assert re.search(rf"\b{part}\b", code), f"`{name}`: nothing in the code is called {part}"


def flags_of_plugin(name: str) -> set[str]:
    """The flags of a bundled plugin; those of others are their own pages' business."""
    if name not in {"disk", "s3", "file-info"}:
        return {"--folder"}
    return {f"--{flag.name}" for flag in flags_of(options_of(name))}


def commands() -> list[str]:
    """Every `openmsi ...` that a page shows, once."""
    found = set()
    for page in PAGES:
        for line in re.findall(r"^(?:\$ )?openmsi ([^\n]*)$", page.read_text("utf-8"), re.MULTILINE):
            found.add(re.split(r"\s{3,}", line)[0].strip())
    return sorted(found)


@pytest.mark.parametrize("line", commands())
def test_commands_on_the_pages_exist_with_their_flags(line) -> None:
    words = shlex.split(line)
    assert words[0] in COMMANDS, line
    command = openmsi.commands.get(words[0]) or openmsi.get_command(None, words[0])  # type: ignore[arg-type]
    if isinstance(command, click.Group) and (words[0] != "plugins" or (words[1:2] and words[1] in command.commands)):
        command = command.commands[words[1]]
    flags = {flag for parameter in command.params for flag in [*parameter.opts, *parameter.secondary_opts]}
    words = words[: words.index("--")] if "--" in words else words  # what follows is another command line
    used = {word.split("=")[0] for word in words if word.startswith("--")} - {"--help"}
    plugins_own = flags_of_plugin(words[1]) if words[0] in ONES_OWN else set()
    assert used <= flags | plugins_own, line


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_answers_help_with_an_example(name) -> None:
    result = CliRunner().invoke(openmsi, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage: " in result.output


def test_every_page_has_its_place_on_the_site() -> None:
    yaml = pytest.importorskip("yaml", reason="the site is built where openmsi[dev] is installed")
    listed = (ROOT / "mkdocs.yml").read_text("utf-8")
    named = set(re.findall(r"[\w/-]+\.md", str(yaml.safe_load(listed)["nav"])))
    assert all((ROOT / "docs" / page).exists() for page in named)
    assert {"index.md", "operate.md", "configuration.md"} <= named


def test_alert_rules_and_dashboard_name_metrics_that_exist() -> None:
    from openmsi_core.observe.metrics import COUNTS, GAUGES

    known = {name for name, _ in GAUGES.values()} | {f"{name}_total" for name, _ in COUNTS.values()}
    known |= {"openmsi_state", "openmsi_progress_seconds", "openmsi_outcomes_total"}
    known |= {f"openmsi_{what}_seconds_bucket" for what in ("checkpoint", "file_age")}
    for file in (ROOT / "docs" / "operations").iterdir():
        for line in re.findall(r"expr\W+(.*)", file.read_text("utf-8")):
            for name in re.findall(r"openmsi_[a-z_]+", line):
                assert name in known, f"{file.name}: {name}"


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page}: {target}"

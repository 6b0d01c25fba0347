"""The reference for plugin authors, made from the code.

``python -m tests.reference`` writes docs/plugin-reference.md.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path

import openmsi_core
from openmsi_core.plugins.hooks import Hooks
from openmsi_core.plugins.kinds import Plugin
from openmsi_core.plugins.options import PluginOptions
from openmsi_core.testing import ExtractorContract, ProcessorContract, SinkContract, pytest_plugin
from openmsi_core.testing.checks import table
from openmsi_core.testing.topics import RunPlugin, SendFile

PAGE = Path(__file__).resolve().parents[1] / "docs" / "plugin-reference.md"
_HEAD = """# Plugin reference

Made from the code by `python -m tests.reference`; a test compares. [Write a plugin](write-a-plugin.md) is the way in.
"""


def page() -> str:
    """The whole page."""
    parts = [_HEAD, "## API\n", "What `openmsi_core` offers to a plugin; nothing else is meant for plugins.\n"]
    for name in openmsi_core.__all__:
        parts += list(_object(name, getattr(openmsi_core, name)))
    parts += ["## Options\n", _text(PluginOptions), _options()]
    parts += ["## Hooks\n", _text(Hooks), *(_hook(name) for name in vars(Hooks) if name.startswith("openmsi_"))]
    parts += ["## Fixtures\n", _FIXTURES, *(_fixture(name, found) for name, found in _fixtures())]
    kinds = {"extractor": ExtractorContract, "processor": ProcessorContract, "sink": SinkContract}
    parts += ["## Checks\n", _CHECKS, table(kinds)]
    return "\n".join(parts)


_FIXTURES = "For tests of your own, from `-p openmsi_core.testing.pytest_plugin`.\n"
_HOOKIMPL = "Marks a method or a function as an observer; see [Hooks](#hooks).\n"
_CHECKS = (
    "What the contract classes of `openmsi_core.testing` check; the name is what `waive` takes, `since` the version "
    "that brought a check.\n"
)


def _object(name: str, found: object) -> Iterator[str]:
    yield f"### `{name}`\n"
    yield _text(found) if isinstance(found, type) else _HOOKIMPL
    if not isinstance(found, type) or issubclass(found, PluginOptions):
        return
    rows = [*_attributes(found), *_members(found)]
    if rows:
        yield "| | |\n|---|---|\n" + "\n".join(f"| `{left}` | {right} |" for left, right in rows) + "\n"


def _members(cls: type) -> Iterator[tuple[str, str]]:
    internal = {"release", "take_back", "content", "version", "position", "workdir", "received"}
    for name, member in sorted(vars(cls).items()):
        if name.startswith("_") or name in internal or not (inspect.isfunction(member) or isinstance(member, property)):
            continue
        shape = name if isinstance(member, property) else f"{name}{_signature(member)}"
        yield shape.replace("|", "\\|"), _cell(inspect.getdoc(getattr(cls, name)) or "")


def _attributes(cls: type) -> Iterator[tuple[str, str]]:
    if cls.__bases__ != (Plugin,):
        return
    source = inspect.getsource(Plugin)
    for name, text in re.findall(r'^    (\w+): ClassVar[^\n]*\n    """(.*?)"""', source, re.MULTILINE | re.DOTALL):
        yield name, _cell(text)
    yield from _members(Plugin)


def _options() -> str:
    rows = [
        ("bool", "`--name/--no-name`"),
        ("int, float, str, Path", "`--name VALUE`, checked"),
        ("Literal, Enum", "`--name [one|two]`, one of them".replace("|", "\\|")),
        ("list, tuple, set", "`--name VALUE`, may be repeated"),
        ("SecretStr", "no flag: from the configuration, as `${VARIABLE}` or `${file:PATH}`"),
        ("dict, another model", "no flag: a table of the configuration"),
    ]
    return (
        "| type of a field | on the command line |\n|---|---|\n" + "\n".join(f"| {a} | {b} |" for a, b in rows) + "\n"
    )


def _hook(name: str) -> str:
    return f"- `{name}{_signature(getattr(Hooks, name))}`: {_cell(inspect.getdoc(getattr(Hooks, name)) or '')}\n"


def _fixtures() -> Iterator[tuple[str, object]]:
    for name, found in vars(pytest_plugin).items():
        function = getattr(found, "__wrapped__", None) or getattr(found, "_fixture_function", None)
        if function is not None:
            yield name, function


def _fixture(name: str, function: object) -> str:
    shape = {"send_file": SendFile, "run_plugin": RunPlugin}.get(name)
    called = f"{_signature(shape.__call__)}" if shape is not None else ""
    return f"- `{name}{called}`: {_cell(inspect.getdoc(function) or '')}\n"


def _signature(function: object) -> str:
    hints = inspect.signature(function)  # type: ignore[arg-type]
    kept = [each for each in hints.parameters.values() if each.name != "self"]
    return str(hints.replace(parameters=kept)).replace("'", "")


def _text(found: object) -> str:
    own = found.__dict__.get("__doc__") if isinstance(found, type) else getattr(found, "__doc__", "")
    text = inspect.cleandoc(own or "")
    return text.partition(">>>")[0].strip() + "\n"


def _cell(text: str) -> str:
    return " ".join(text.partition(">>>")[0].split()).replace("|", "\\|").replace("``", "`")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(PAGE, len(typing.cast("str", page()).splitlines()))

"""What one plugin says of itself once it is imported: run in a child process by `probing`, never in ours."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from openmsi_core.errors import PluginError, SettingsError
from openmsi_core.plugins.entry import Entry
from openmsi_core.plugins.hooks import Announcer
from openmsi_core.plugins.loader import load, load_hooks
from openmsi_core.plugins.manifest import FIELDS
from openmsi_core.plugins.options import Flag, check_defaults, flags_of, schema_of


def main(text: str) -> None:
    """Import the plugin whose entry stands in ``text`` as JSON, and answer in JSON on standard output.

    Ends the process, whatever threads the plugin has started. Nothing that the plugin prints comes between.
    """
    answer = os.dup(1)
    os.dup2(2, 1)
    said = json.dumps(_said(Entry(**json.loads(text)))).encode("ascii")
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with open(answer, "wb") as out:  # noqa: PTH123 - a descriptor
        out.write(said)
    os._exit(0)


def _said(entry: Entry) -> dict[str, Any]:
    try:
        if entry.kind == "hook":
            return _observer(entry)
        cls = load(entry)
    except PluginError as error:
        status = "broken entry point" if error.__cause__ is None else "fails on import"
        return {"status": status, "detail": str(error)}
    found: dict[str, Any] = {"status": "ok", "detail": "", "facts": _facts(cls)}
    try:
        check_defaults(cls.Options, entry.name)
        found["options"] = [_told(flag) for flag in flags_of(cls.Options)]
        found["schema"] = schema_of(cls.Options, entry.name)
    except SettingsError as error:
        return found | {"status": "broken options", "detail": str(error)}
    return found


def _observer(entry: Entry) -> dict[str, Any]:
    for name, observer in load_hooks([entry.qualified]):
        Announcer().add(observer, name)
    return {"status": "ok", "detail": "", "facts": {}}


def _facts(cls: type) -> dict[str, Any]:
    said = {name: getattr(cls, name) for name in FIELDS if hasattr(cls, name)}
    signature = said["sniff"] if isinstance(said["sniff"], bytes) else b""
    return said | {
        "summary": (cls.__doc__ or "").strip().partition("\n")[0],
        "sniff": signature.hex(),
        "accepts": _texts(said["accepts"]),
    }


def _texts(value: object) -> list[str]:
    return (
        [value] if isinstance(value, str) else [str(each) for each in value] if isinstance(value, tuple | list) else []
    )


def _told(flag: Flag) -> dict[str, object]:
    """One option as JSON can hold it."""
    default = getattr(flag.default, "value", flag.default)
    told = {name: getattr(flag, name) for name in ("name", "kind", "help", "is_required", "is_many", "is_secret")}
    told["default"] = None if flag.is_secret or default is None else json.loads(json.dumps(default, default=_plain))
    return told | {"choices": list(flag.choices), "flag": f"--{flag.name}" if flag.is_on_command_line else ""}


def _plain(value: object) -> object:
    return list(value) if isinstance(value, set | frozenset | tuple) else str(value)

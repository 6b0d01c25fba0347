"""What ``openmsi plugins show`` says of one plugin."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openmsi_core.plugins.probing import Probed

_TEXTS = {"text": '"…"', "path": '"…"', "int": "0", "float": "0.0", "bool": "false", "table": "{}"}


def description(probed: Probed) -> Iterator[str]:
    """Line for line: what it is, then its options."""
    entry = probed.entry
    facts = {
        "kind": entry.kind,
        "package": f"{entry.package} {entry.version}",
        "class": entry.target,
        "status": f"{entry.status}{f': {entry.detail}' if entry.detail else ''}",
        "openmsi": entry.window,
        "accepts": ", ".join(_fact(probed, "accepts") or ()) or "every file",
        "sniff": repr(bytes.fromhex(probed.facts["sniff"])) if probed.facts.get("sniff") else entry.sniff,
        "head": f"{_fact(probed, 'head')} bytes" if _fact(probed, "head") else "",
    }
    facts |= {name: str(_fact(probed, name) or "") for name in ("emits", "delivery", "cite", "stability")}
    yield f"{entry.name}: {_fact(probed, 'summary')}".rstrip(": ")
    for name, fact in facts.items():
        if fact and not (entry.kind == "hook" and name == "accepts"):
            yield f"  {name:9} {fact}"
    if probed.schema is not None:
        yield ""
        yield from _options(probed)


def _fact(probed: Probed, name: str) -> Any:
    return probed.facts.get(name, getattr(probed.entry, name))


def _options(probed: Probed) -> Iterator[str]:
    from openmsi_core.settings import variable_of

    if not probed.options:
        yield "It has no options."
        return
    yield "Options, each as flag and as variable; the table shows the defaults"
    for option in probed.options:
        ways = ", ".join(filter(None, [_flag(option), variable_of(probed.entry.name, option["name"])]))
        yield f"  {ways}"
        more = [
            "needed" if option["is_required"] else "",
            "a secret" if option["is_secret"] else "",
            f"one of {', '.join(option['choices'])}" if option["choices"] else "",
        ]
        said = "; ".join(filter(None, more))
        yield f"      {' '.join(filter(None, [option['help'] or '(not described)', f'({said})' if said else '']))}"
    yield ""
    yield f"  [run.{_key(probed.entry.name)}.options]"
    for option in probed.options:
        mark = "" if option["is_required"] else "# "
        yield f"  {mark}{_key(option['name'])} = {toml_value(option)}"


def _flag(option: Mapping[str, Any]) -> str:
    if not option["flag"]:
        return ""
    if option["kind"] == "bool" and not option["is_many"]:
        return f"{option['flag']} / --no-{option['name']}"
    return f"{option['flag']} {option['kind'].upper()}"


def toml_value(option: Mapping[str, Any]) -> str:
    """The default of an option as TOML has it, or something to replace."""
    if option["is_secret"]:
        return '"${VARIABLE}"'
    default = option["default"]
    if default is None:
        return f"[{_TEXTS[option['kind']]}]" if option["is_many"] else _TEXTS[option["kind"]]
    if isinstance(default, dict):
        return "{" + ", ".join(f"{_key(name)} = {json.dumps(value)}" for name, value in default.items()) + "}"
    return json.dumps(default, ensure_ascii=False)


def _key(name: str) -> str:
    is_bare = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return name if is_bare else json.dumps(name)

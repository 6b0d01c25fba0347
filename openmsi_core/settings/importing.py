"""A configuration file of OpenMSIStream as one of ours, and what became of each of its lines.

Its files are INI: ``[broker]`` holds for producers and consumers, ``[producer]`` and ``[consumer]`` add to it, other
sections are about its own parts. A value that begins with ``$`` is a variable of the environment; ``%`` means nothing.
Facts of its version 1.8.8.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import tomlkit

from openmsi_core.errors import SettingsError
from openmsi_core.settings.tables import is_secret

Refusal = Callable[[str], str | None]
"""Why a Kafka option cannot be set; None when it can."""

_CLASSES = {"key.serializer", "value.serializer", "key.deserializer", "value.deserializer"}
_FOR_KAFKA = ("broker", "producer", "consumer")
_ELSEWHERE = {
    "heartbeat": "heartbeats are switched on for each command: see docs/operating.md",
    "log": "logs to a topic are switched on for each command: see docs/operating.md",
    "kafkacrypto": "a node of KafkaCrypto is named by --crypto, see docs/encryption.md",
    "girder": "options of the plugin girder: see docs/girder.md",
}
_VARIABLE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?")


@dataclass(frozen=True, slots=True)
class Line:
    """One option of the old file: the number of its line (0: unknown), what it was, and what became of it."""

    number: int
    section: str
    name: str
    told: str
    is_kept: bool


@dataclass(frozen=True, slots=True)
class Imported:
    """The text of an `openmsi.toml`, and a line for each option of the old file."""

    text: str
    lines: tuple[Line, ...]
    has_secrets: bool


def imported(file: Path, refusal: Refusal) -> Imported:
    """What ``file`` becomes. Raises SettingsError when it cannot be read."""
    parser = _parsed(file)
    numbers = _numbers(file)
    kafka: dict[str, str] = {}
    s3: dict[str, str] = {}
    lines = []
    for section in parser.sections():
        for name, value in parser.items(section):
            told, is_kept = _placed(section, name, value, kafka, s3, refusal)
            lines.append(Line(numbers.get((section, name), 0), section, name, told, is_kept))
    has_secrets = any(is_secret(name) and not value.startswith("${") for name, value in kafka.items())
    return Imported(_written(file, kafka, s3), tuple(sorted(lines, key=lambda line: line.number)), has_secrets)


def _placed(
    section: str, name: str, value: str, kafka: dict[str, str], s3: dict[str, str], refusal: Refusal
) -> tuple[str, bool]:
    """Put one option where it belongs; what is told of it, and whether it is kept."""
    if section == "s3":
        return _s3(name, value, s3)
    if section not in _FOR_KAFKA:
        return _ELSEWHERE.get(section, "no part of openmsi has this section; left out"), False
    reason = _reason(section, name, value, refusal)
    if reason:
        return f"left out: {reason}", False
    text = _referred(value)
    if name in kafka and kafka[name] != text:
        return f"left out: [kafka] has one value for everybody, and {kafka[name]!r} stands there already", False
    kafka[name] = text
    return f"[kafka] {name}" + (f", read from the variable {text[2:-1]}" if text.startswith("${") else ""), True


def _reason(section: str, name: str, value: str, refusal: Refusal) -> str:
    """Why an option for Kafka has no place, or ""."""
    if name in _CLASSES:
        return "it names a class of OpenMSIStream, and ours needs none"
    if (section, name) == ("consumer", "group.id"):
        return _group(value)
    if (section, name) == ("consumer", "auto.offset.reset"):
        return _start(value)
    return refusal(name) or ""


def _group(value: str) -> str:
    if value == "create_new":
        return (
            "each start got a new group and read everything again; here a run's group is openmsi-NAME, so "
            "that a restart goes on where it stopped. For a fresh one give --group"
        )
    return f"a group belongs to one run. To go on in this one give --group {value}, or group in [run.NAME]"


def _start(value: str) -> str:
    if value in {"latest", "largest", "end"}:
        return 'say --from end, or from = "end" in [run.NAME], for a group without commits'
    return "a group without commits begins at the beginning, and never anywhere else by itself"


def _s3(name: str, value: str, s3: dict[str, str]) -> tuple[str, bool]:
    if name in {"endpoint_url", "region"}:
        s3[name.replace("_", "-")] = _referred(value)
        return f"[run.s3.options] {name.replace('_', '-')}", True
    if name in {"access_key_id", "secret_key_id"}:
        variable = "AWS_ACCESS_KEY_ID" if name == "access_key_id" else "AWS_SECRET_ACCESS_KEY"
        return f"left out: credentials are found as boto3 finds them; set {variable}, or a profile", False
    if name == "bucket_name":
        s3["bucket"] = _referred(value)
        return "[run.s3.options] bucket", True
    return "no option of the plugin s3; left out", False


def _referred(value: str) -> str:
    """A value with its variable of the environment as ours writes it; any other dollar sign is only that."""
    whole = _VARIABLE.fullmatch(value)
    return f"${{{whole.group(1)}}}" if whole else value.replace("$", "$$")


def _written(file: Path, kafka: Mapping[str, str], s3: Mapping[str, str]) -> str:
    document = tomlkit.document()
    document.add(tomlkit.comment(f"Made from {file.name} by `openmsi config import`."))
    table = tomlkit.table()
    for name, value in kafka.items():
        table.add(tomlkit.key([name]) if "." not in name else tomlkit.key(name.split(".")), value)
    document.add("kafka", table)
    if s3:
        options = tomlkit.table()
        options.update(s3)
        run = tomlkit.table(is_super_table=True)
        own = tomlkit.table(is_super_table=True)
        own.add("options", options)
        run.add("s3", own)
        document.add("run", run)
    return tomlkit.dumps(document)


def _parsed(file: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(default_section="", strict=True)
    try:
        with file.open(encoding="utf-8") as source:
            parser.read_file(source)
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file} is not UTF-8 text: it is no configuration of OpenMSIStream") from error
    except configparser.Error as error:
        raise SettingsError(f"{file} is no configuration of OpenMSIStream: {' '.join(str(error).split())}") from error
    if not parser.sections():
        raise SettingsError(f"{file} has no section: a configuration of OpenMSIStream has [broker] at least")
    return parser


def _numbers(file: Path) -> dict[tuple[str, str], int]:
    return dict(_located(file.read_text("utf-8")))


def _located(text: str) -> Iterator[tuple[tuple[str, str], int]]:
    """Where each option stands: lines that begin at the margin, with their section."""
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("["):
            section = line[1:].partition("]")[0]
        elif line[:1] not in {"", " ", "\t", "#", ";"}:
            yield (section, re.split(r"[=:]", line, maxsplit=1)[0].strip().lower()), number

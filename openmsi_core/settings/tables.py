"""What can be configured: one frozen table for each part of `openmsi.toml`.

Nothing is converted that was not written as a number, a truth or a text: a `workers = "4"` is an error, a password
`8675309` in quotes stays text. Spans, sizes, paths and lists of patterns have readers of their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import platformdirs
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from openmsi_core.files.paths import wanted
from openmsi_core.model import RelativePath
from openmsi_core.settings.units import bytes_of, moment_of, seconds_of, span_of

HIDDEN = "(hidden)"
_SECRET = re.compile(
    r"passw|passphrase|secret|token(?!\.endpoint)|credential|jaas|oauthbearer\.config|(key|p12)[._-]?pem|"
    r"(access|api|private)[._-]?key",
    re.IGNORECASE,
)
_ANY_PATH = RelativePath(("any",))
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)


def is_secret(name: str) -> bool:
    """True for options whose values are never shown.

    >>> is_secret("sasl.password"), is_secret("sasl.username")
    (True, False)
    """
    return _SECRET.search(name) is not None


def _folder(value: object) -> object:
    if isinstance(value, str):
        if not value:
            raise ValueError("a path cannot be empty; the current folder is '.'")
        return Path(value).expanduser()
    return value


def _list(value: object) -> object:
    if isinstance(value, list):
        return tuple(value)
    if not isinstance(value, tuple):
        raise ValueError(f"a list is needed, as in [{json.dumps(str(value))}]")  # noqa: TRY004 - what pydantic reports
    return value


def _patterns(value: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in value:
        try:
            wanted(_ANY_PATH, (pattern,), ())
        except re.error as error:
            raise ValueError(f"{pattern!r} is no pattern: {error}") from error
    return value


def _topic(value: str) -> str:
    if value and (value in {".", ".."} or _TOPIC.fullmatch(value) is None):
        raise ValueError(f"{value!r} is no topic name: 1 to 249 letters, digits, dots, dashes and underscores")
    return value


def _start(value: str) -> str:
    if value not in {"beginning", "end"}:
        try:
            moment_of(value)
        except ValueError as error:
            raise ValueError(f"'beginning' or 'end' or a moment is needed: {error}") from error
    return value


def _selected(value: str) -> str:
    span_of(value)
    return value


def _or_text(kind: str, example: str) -> WithJsonSchema:
    """What the file may say: a number, or a text with a unit."""
    return WithJsonSchema(
        {"anyOf": [{"type": kind}, {"type": "string", "pattern": r"^\s*(\d|\$\{)"}], "examples": [example]}
    )


Bytes = Annotated[int, BeforeValidator(bytes_of), _or_text("integer", "512KiB")]
Seconds = Annotated[float, BeforeValidator(seconds_of), Field(allow_inf_nan=False), _or_text("number", "3s")]
Folder = Annotated[Path, BeforeValidator(_folder)]
Names = Annotated[tuple[str, ...], BeforeValidator(_list)]
Globs = Annotated[Names, AfterValidator(_patterns)]
Topic = Annotated[str, AfterValidator(_topic)]
Selected = Annotated[str, AfterValidator(_selected)]
Start = Annotated[str, AfterValidator(_start)]


def _dashed(name: str) -> str:
    return name.replace("_", "-")


class _Table(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=_dashed,
        validate_by_name=False,
        validate_by_alias=True,
    )


Table = TypeVar("Table", bound=_Table)


class _Observed(_Table):
    """How a program can be observed while it works; ``heartbeat_every`` and ``stall_after`` are seconds."""

    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    metrics_address: str = Field(default="127.0.0.1", min_length=1)
    heartbeat_topic: Topic = ""
    heartbeat_every: Seconds = Field(default=30.0, gt=0)
    log_topic: Topic = ""
    stall_after: Seconds = Field(default=600.0, ge=0)


class WatchSettings(_Observed):
    """``[watch.NAME]``: a folder whose files are sent. ``settle`` and ``rescan`` are seconds, ``chunk`` bytes.
    ``selected`` is the text of ``bytes``; `span_of` says what it means.

    ``topic`` may be missing in the file; what `watch_settings` answers always has one.
    """

    path: Folder
    topic: Topic = ""
    include: Globs = ()
    exclude: Globs = ()
    settle: Seconds = Field(default=3.0, ge=0)
    rescan: Seconds = Field(default=5.0, gt=0)
    new_only: bool = False
    once: bool = False
    polling: bool = False
    sidecar: str = ""
    selected: Selected = Field(default="", alias="bytes")
    rename: str = ""
    chunk: Bytes = Field(default=512 * 1024, ge=16 * 1024, le=8 * 1024 * 1024)
    meta: Mapping[str, str | int | float] = {}
    runs: Names = ()
    crypto: str | None = Field(default=None, min_length=1)


class RunSettings(_Observed):
    """``[run.NAME]``: one plugin on one topic. Limits are bytes.

    ``topic`` may be missing in the file; what `run_settings` answers always has one. ``options`` are the plugin's,
    which checks them itself.
    """

    plugin: str = Field(min_length=1)
    topic: Topic = ""
    output_topic: Topic | None = None
    group: str = Field(default="", min_length=1)
    include: Globs = ()
    exclude: Globs = ()
    workers: int | None = Field(default=None, ge=1, le=256)
    bare: bool = False
    start: Start = Field(default="beginning", alias="from")
    until_caught_up: bool = False
    max_file_size: Bytes = Field(default=1 << 40, gt=0)
    memory_limit: Bytes = Field(default=96 * 1024 * 1024, ge=16 * 1024 * 1024)
    spool_limit: Bytes = Field(default=10 * 1024**3, ge=64 * 1024 * 1024)
    spool_free: Bytes | None = Field(default=None, ge=0)
    incomplete_after: Seconds = Field(default=24 * 3600.0, gt=0)
    max_results: Bytes = Field(default=1024**3, gt=0)
    breaker: int = Field(default=20, ge=0)
    delivery: Literal["exactly-once", "at-least-once"] = "exactly-once"
    hooks: Names = ()
    isolate: Literal["thread", "process"] = "thread"
    plugin_timeout: Seconds = Field(default=300.0, ge=0.1)
    plugin_memory: Bytes = Field(default=2 * 1024**3, ge=128 * 1024 * 1024)
    crypto: str | None = Field(default=None, min_length=1)
    options: Mapping[str, Any] = Field(default={}, repr=False)

    @property
    def since_ms(self) -> int | None:
        """The moment at which a group without commits begins, epoch milliseconds; None: at an end of the log."""
        return None if self.start in {"beginning", "end"} else moment_of(self.start)

    @model_validator(mode="after")
    def _limits_need_a_process(self) -> Self:
        given = {"plugin_timeout", "plugin_memory"} & self.model_fields_set
        if self.isolate == "thread" and given:
            names = " and ".join(sorted(map(_dashed, given)))
            raise ValueError(f'{names}: nothing limits a thread; write isolate = "process" too')
        return self

    @model_validator(mode="before")
    @classmethod
    def _default_group(cls, values: Any) -> Any:
        if isinstance(values, dict) and "plugin" in values:
            return {"group": f"openmsi-{values['plugin']}"} | values
        return values


class CryptoSettings(_Table):
    """``[crypto]``: what all encrypted runs and watches share. ``folder`` is where nodes lie; spans are seconds.

    Which node a run or a watch uses is said there: no two processes share one.
    """

    folder: Folder = Field(
        default_factory=lambda: Path(platformdirs.user_config_dir("openmsi", appauthor=False)) / "crypto"
    )
    keyring: Literal["memory", "file"] = "memory"
    accept_plain: bool = False
    serve_keys: Seconds = Field(default=60.0, ge=0)
    unreadable_after: Seconds | None = Field(default=None, gt=0)


class Document(_Table):
    """The whole of `openmsi.toml`, with the environment and flags on top."""

    kafka: Mapping[str, str] = {}
    watch: Mapping[str, WatchSettings] = {}
    run: Mapping[str, RunSettings] = {}
    include: Names = ()
    crypto: CryptoSettings = Field(default_factory=CryptoSettings)
    state: Folder = Field(default_factory=lambda: Path(platformdirs.user_state_dir("openmsi", appauthor=False)))


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from. ``literal``: the value itself stands in the configuration file, not a reference."""

    where: str
    literal: bool = False


class KafkaOptions(Mapping[str, str]):
    """librdkafka's options by name. Printing them hides what is secret."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self._options = dict(options)

    def __getitem__(self, name: str) -> str:
        return self._options[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._options)

    def __len__(self) -> int:
        return len(self._options)

    def __repr__(self) -> str:
        return repr({name: HIDDEN if is_secret(name) else value for name, value in self._options.items()})


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that was configured.

    ``kafka`` holds librdkafka's options; ``state`` is the folder of ledgers and spools; ``file`` the configuration
    file, if there is one; ``origins`` says of every value that is not a default where it was given, by its path
    (``("run", "archive", "topic")``).
    """

    kafka: KafkaOptions
    watch: Mapping[str, WatchSettings]
    run: Mapping[str, RunSettings]
    state: Path
    crypto: CryptoSettings = field(default_factory=CryptoSettings)
    file: Path | None = None
    origins: Mapping[tuple[str, ...], Origin] = field(default_factory=dict, repr=False)

"""What can be configured: one frozen table for each part of `openmsi.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import platformdirs
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from openmsi_core.settings.units import bytes_of, seconds_of

Bytes = Annotated[int, BeforeValidator(bytes_of)]
Seconds = Annotated[float, BeforeValidator(seconds_of)]
Globs = tuple[str, ...]


def _dashed(field: str) -> str:
    return field.replace("_", "-")


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=_dashed, populate_by_name=True)


Table = TypeVar("Table", bound=_Table)


class WatchSettings(_Table):
    """``[watch.NAME]``: a folder whose files are sent. ``settle`` and ``rescan`` are seconds, ``chunk`` bytes."""

    path: Path
    topic: str
    include: Globs = ()
    exclude: Globs = ()
    settle: Seconds = Field(default=3.0, ge=0)
    rescan: Seconds = Field(default=5.0, gt=0)
    new_only: bool = False
    once: bool = False
    chunk: Bytes = Field(default=512 * 1024, ge=16 * 1024, le=8 * 1024 * 1024)
    meta: Mapping[str, str | int | float] = {}


class RunSettings(_Table):
    """``[run.NAME]``: one plugin on one topic. Limits are bytes."""

    plugin: str
    topic: str
    output_topic: str | None = None
    group: str = ""
    include: Globs = ()
    exclude: Globs = ()
    workers: int = Field(default=1, ge=1, le=256)
    bare: bool = False
    start: str = Field(default="beginning", alias="from", pattern="^(beginning|end)$")
    until_caught_up: bool = False
    max_file_size: Bytes = Field(default=1 << 40, gt=0)
    memory_limit: Bytes = Field(default=96 * 1024 * 1024, ge=16 * 1024 * 1024)
    spool_limit: Bytes = Field(default=10 * 1024**3, ge=64 * 1024 * 1024)
    incomplete_after: Seconds = Field(default=24 * 3600.0, gt=0)
    breaker: int = Field(default=20, ge=0)
    delivery: Literal["exactly-once", "at-least-once"] = "exactly-once"
    hooks: tuple[str, ...] = ()
    options: Mapping[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _default_group(cls, values: Any) -> Any:
        if isinstance(values, dict) and not values.get("group"):
            values = values | {"group": f"openmsi-{values.get('name') or values.get('plugin')}"}
        if isinstance(values, dict):
            values = {key: value for key, value in values.items() if key != "name"}
        return values


class Settings(_Table):
    """Everything that was configured.

    ``kafka`` holds librdkafka's options; ``state`` is the folder of ledgers and spools.
    """

    kafka: Mapping[str, str] = Field(default={}, repr=False)
    watch: Mapping[str, WatchSettings] = {}
    run: Mapping[str, RunSettings] = {}
    state: Path = Field(default_factory=lambda: Path(platformdirs.user_state_dir("openmsi")))

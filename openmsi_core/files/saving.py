"""Writing one file where a person asked for it: whole or not at all, and never over another one unasked."""

from __future__ import annotations

import io
import logging
import os
import secrets
import shutil
from pathlib import Path

from openmsi_core.errors import FolderError, UsageError
from openmsi_core.files.content import Content
from openmsi_core.model import RelativePath

log = logging.getLogger(__name__)


def save(
    content: Content | bytes, to: Path, path: RelativePath, *, mtime_ns: int | None = None, force: bool = False
) -> Path:
    """Put ``content`` at ``to``, or into it under the last part of ``path`` when it is a folder; where it stands.

    It is durable when this returns. Raises FolderError, UsageError when a file is there and ``force`` is not given,
    or when this system cannot have the name.
    """
    target = to / _name(path) if to.is_dir() else to
    if target.is_dir():
        raise UsageError(f"{target} is a folder. Name a file: --to FILE.")
    if not target.parent.is_dir():
        raise FolderError(f"{target} cannot be written: there is no folder {target.parent}. Name another place: --to.")
    work = target.parent / f".openmsi-{secrets.token_hex(8)}"
    try:
        _write(content, work, mtime_ns)
        _publish(work, target, force=force)
    except FileExistsError as error:
        raise UsageError(f"{target} is there already. Give --force to replace it, or name another file.") from error
    except OSError as error:
        raise FolderError(
            f"{target} cannot be written: {error.strerror or error}. Name another place: --to."
        ) from error
    finally:
        work.unlink(missing_ok=True)
    return target


def _write(content: Content | bytes, work: Path, mtime_ns: int | None) -> None:
    with work.open("xb") as out:
        with io.BytesIO(content) if isinstance(content, bytes) else content.open() as source:
            shutil.copyfileobj(source, out, 1 << 20)
        out.flush()
        os.fsync(out.fileno())
    if mtime_ns is not None:
        try:
            os.utime(work, ns=(mtime_ns, mtime_ns))
        except (OSError, OverflowError) as error:  # a time that this file system cannot have; the bytes count
            log.warning("the time of change %d ns cannot be set: %s", mtime_ns, error)


def _publish(work: Path, target: Path, *, force: bool) -> None:
    if force:
        work.replace(target)
        return
    try:
        os.link(work, target)  # fails when the target exists, whoever made it since we looked
    except FileExistsError:
        raise
    except OSError as error:  # no hard links on this file system
        log.debug("%s: %s", target, error)
        if target.exists():
            raise FileExistsError(target) from error
        work.rename(target)


def _name(path: RelativePath) -> str:
    name = path.name
    if Path(name).name != name or any(mark in name for mark in ("\\", ":") if os.name == "nt"):
        raise UsageError(f"this system cannot have a file called {path}. Name one: --to FILE.")
    return name

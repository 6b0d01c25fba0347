"""The error tree: the class of a failure says what happens next, its text says what, where, and what to do.

::

    OpenmsiError                 anything that openmsi raises on purpose
    ├── UsageError               the person at the command line must change something        exit 2
    │   ├── SettingsError        a configuration file, variable or flag is wrong
    │   ├── PluginError          a plugin is missing, broken, ambiguous or does not fit
    │   ├── TopicError           a topic is missing, or its settings cannot carry our records
    │   ├── FolderError          a folder cannot be read, written or shared
    │   ├── TargetError          raised by a plugin: nothing can be done until a person acts -> the run ends
    │   └── CipherError          encryption as it was asked for is not possible here
    ├── BrokerError              the broker cannot be used now                               exit 3
    │   ├── BrokerUnreachable    nobody answers: services wait, commands with an end give up
    │   ├── BrokerRefused        wrong password, wrong certificate, wrong protocol
    │   └── RightMissing         the account may not do this
    ├── ServiceFailed            the service manager did not do what it was told
    ├── NotDelivered             the broker refused one record for good
    ├── NotWhole                 what a dead letter is about cannot be put together again      exit 4
    ├── BreakerOpen              too many dead letters in a row                              exit 5
    ├── CipherDown               encryption has stopped working                              exit 6
    ├── PathRefused              a relative path that must not exist
    ├── BadRecord                one record is not what a file record must be   -> dead letter, next record
    ├── BadVersion               the records of one file contradict each other  -> dead letter, next file
    ├── TooManyResults           a plugin made more results of one file than fit -> dead letter, next file
    ├── PluginFailed             a plugin failed in a process of its own        -> tried again, then dead letter
    ├── WorkLost                 files that waited for a flush went with it     -> each is handed in again
    ├── FileChanged              a file changed while it was read               -> abort, send anew
    ├── Reject                   raised by a plugin: this file is not for me    -> dead letter, next file
    └── RetryLater               raised by a plugin: not now                    -> the file is kept and comes back

An exception of any other class that a plugin raises is a failure of that plugin on that file: it is tried
again and then becomes a dead letter.
"""

from __future__ import annotations

import traceback

EXIT_DONE = 0
EXIT_UNEXPECTED = 1
EXIT_USAGE = 2
EXIT_BROKER = 3
EXIT_SOME_FAILED = 4
EXIT_BREAKER = 5
EXIT_CIPHER = 6
EXIT_INTERRUPTED = 130
EXIT_NO_READER = 141


class OpenmsiError(Exception):
    """Anything that openmsi raises on purpose; ``exit_code`` is what a command that ends with it returns."""

    exit_code = EXIT_UNEXPECTED


class UsageError(OpenmsiError):
    """What was asked for cannot be done as it was asked; the text says what to change."""

    exit_code = EXIT_USAGE


class SettingsError(UsageError):
    """A configuration file, an environment variable or a flag is wrong."""


class PluginError(UsageError):
    """A plugin that was named is missing, broken, ambiguous or does not fit this openmsi."""


class TopicError(UsageError):
    """A topic is missing, or its settings cannot carry our records."""


class FolderError(UsageError):
    """A folder cannot be read, written or shared."""


class TargetError(UsageError):
    """Raise this in a plugin when no file can be dealt with until a person changes something: the run ends.

    Nothing of the file at hand is recorded, so that it comes again. Say what happened, where, and what to do.
    """


class CipherError(UsageError):
    """A node, its chain, its topics or a library is not what encryption needs."""


class BrokerError(OpenmsiError):
    """The broker cannot be used now."""

    exit_code = EXIT_BROKER


class BrokerUnreachable(BrokerError):
    """Nobody answers at the address of the broker."""


class BrokerRefused(BrokerError):
    """The broker answers and refuses us: wrong password, wrong certificate, wrong protocol."""


class RightMissing(BrokerError):
    """The broker knows us, and we may not do what was asked."""


class ServiceFailed(OpenmsiError):
    """systemd, launchd or Windows did not do what it was told; the text has the command, its output and exit code."""


class NotDelivered(OpenmsiError):
    """The broker refused one record for good; ``outgoing`` is that record when a checkpoint published it."""

    outgoing: object = None


class NotWhole(OpenmsiError):
    """What a dead letter is about cannot be put together again: records are gone, missing or contradict each other."""

    exit_code = EXIT_SOME_FAILED


class BreakerOpen(OpenmsiError):
    """Too many dead letters in a row: the run stopped before it poured the whole topic into them."""

    exit_code = EXIT_BREAKER


class CipherDown(OpenmsiError):
    """Encryption has stopped working: nothing can be sealed, no key is handed out; a new start may help."""

    exit_code = EXIT_CIPHER


class SpoolFull(OpenmsiError):
    """The spool has no room for these bytes now, or its disk is in trouble; nothing has changed."""


class PathRefused(OpenmsiError):
    """A relative path that must not exist: empty, leaving its root, or impossible to store."""


class BadRecord(OpenmsiError):
    """One record is not what a file record must be; it becomes a dead letter."""


class BadVersion(OpenmsiError):
    """The records of one file version contradict each other or its digest; it becomes a dead letter."""


class TooManyResults(OpenmsiError):
    """A plugin made more results of one file than the run takes; the file becomes a dead letter."""


class PluginFailed(OpenmsiError):
    """A plugin failed in a process of its own.

    ``what`` is the word for the dead letter (failed, crashed, timed-out, out-of-memory, too-much-output), ``error`` the
    class of what it raised, if it raised anything, ``traceback`` where that was.
    """

    def __init__(self, text: str, *, what: str = "failed", error: str = "", traceback: str = "") -> None:
        super().__init__(text)
        self.what = what
        self.error = error
        self.traceback = traceback


class WorkLost(OpenmsiError):
    """The process that had written files and not flushed them is gone; none of these files is to blame."""


class FileChanged(OpenmsiError):
    """A file changed while it was read; what was sent of it is given up and it is sent anew."""


class Reject(OpenmsiError):
    """Raise this in a plugin: the file is not what it should be. It becomes a dead letter with your reason.

    >>> raise Reject("no xrdMeasurement element")
    Traceback (most recent call last):
    ...
    openmsi_core.errors.Reject: no xrdMeasurement element
    """


class RetryLater(OpenmsiError):
    """Raise this in a plugin: something outside is not ready. The file is kept and comes back.

    ``seconds`` is how long to wait before the file is offered again.
    """

    def __init__(self, seconds: float, reason: str = "") -> None:
        self.seconds = float(seconds)
        if not 0 <= self.seconds < 1e9:
            raise ValueError(f"RetryLater takes a number of seconds, not {seconds!r}")
        super().__init__(reason or f"asked to be called again in {self.seconds:g} s")


_MAX_TEXT = 4000
_MAX_TRACEBACK = 16 * 1024


def text_of(error: BaseException) -> str:
    """What the exception says, at most 4,000 characters that UTF-8 can carry; one that cannot even say is named."""
    try:
        said = str(error)
    except BaseException:  # noqa: BLE001 - a plugin's own class may fail here too
        said = f"{name_of(error)} (its text cannot be read)"
    return (said or name_of(error))[:_MAX_TEXT].encode("utf-8", "backslashreplace").decode("utf-8")


def name_of(error: BaseException) -> str:
    """The name of its class, which a metaclass may hide."""
    if isinstance(error, PluginFailed) and error.error:
        return error.error
    return str(type.__dict__["__qualname__"].__get__(type(error)))


def traceback_of(error: BaseException) -> str:
    """Where it was raised, the last 16 KiB of it."""
    if isinstance(error, PluginFailed):
        return error.traceback[-_MAX_TRACEBACK:]
    try:
        lines = traceback.format_exception(error)
    except BaseException:  # noqa: BLE001 - it cannot be told with its text
        lines = [*traceback.format_tb(error.__traceback__), f"{name_of(error)} (it cannot be shown)"]
    return "".join(lines)[-_MAX_TRACEBACK:]

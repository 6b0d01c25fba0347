"""The command line: one file per command; each parses, calls one function and reports.

`main` is the only place that prints an error and chooses the exit code. Commands are imported when they are run, so
that listing plugins does not pay for a Kafka client.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from openmsi_core.errors import EXIT_INTERRUPTED, EXIT_NO_READER, EXIT_UNEXPECTED, OpenmsiError

COMMANDS = {
    "broker": "openmsi_core.cli.broker:broker",
    "check": "openmsi_core.cli.check:check",
    "config": "openmsi_core.cli.config:config",
    "crypto": "openmsi_core.cli.crypto:crypto",
    "demo": "openmsi_core.cli.demo:demo",
    "dlq": "openmsi_core.cli.dlq:dlq",
    "new": "openmsi_core.cli.new:new",
    "doctor": "openmsi_core.cli.doctor:doctor",
    "plugins": "openmsi_core.cli.plugins:plugins",
    "replay": "openmsi_core.cli.replay:replay",
    "run": "openmsi_core.cli.run:run",
    "service": "openmsi_core.cli.service:service",
    "status": "openmsi_core.cli.status:status",
    "topics": "openmsi_core.cli.topics:topics",
    "try": "openmsi_core.cli.try_:try_",
    "upload": "openmsi_core.cli.upload:upload",
    "watch": "openmsi_core.cli.watch:watch",
    "which": "openmsi_core.cli.which:which",
}
_SUMMARIES = {
    "broker": "Start an embedded broker for trying out.",
    "check": "Try whether a plugin finds what it needs.",
    "config": "Check and show the configuration, and describe it for editors.",
    "crypto": "Encryption: a root of trust, nodes, a controller.",
    "demo": "The whole journey on this machine: broker, files, plugins, results.",
    "dlq": "Dead letters: list, show, save, and hand to their plugin again.",
    "new": "Make a plugin package of your own.",
    "plugins": "List the installed plugins, show one, check a package before it is published.",
    "doctor": "Is everything there that the work needs, and what to do about what is not.",
    "replay": "Run a plugin again on chosen files of a topic.",
    "run": "Run one plugin on the files of a topic.",
    "service": "Keep a command running: systemd, launchd, Windows.",
    "status": "Did everything arrive? How far the files of a watched folder are.",
    "topics": "Create, describe and look into topics.",
    "try": "Run a plugin on local files, without Kafka.",
    "upload": "Send files or folders and wait until the broker has them.",
    "watch": "Send what is in a folder and what comes, for ever.",
    "which": "Say which installed plugins would take a file.",
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, not when the help lists them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Every command, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and answer one command."""
        target = COMMANDS.get(cmd_name)
        if target is None:
            ctx.fail(f"There is no command {cmd_name!r}.{_nearest(cmd_name)} 'openmsi --help' lists them.")
        module, _, attribute = target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{target} is not a click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The table of commands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_SUMMARIES.items()))


def _nearest(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, COMMANDS, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="openmsi", prog_name="openmsi")
def openmsi() -> None:
    """Laboratory files through Kafka, whole and verified, into plugins that anybody can write.

    \b
    openmsi demo                                     see it all on this machine
    openmsi watch D:/data --topic xrd-raw            send what an instrument writes
    openmsi run disk --topic xrd-raw --folder out    store it elsewhere
    openmsi plugins                                  what else there is
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. The codes are listed in README.md."""
    try:
        result = openmsi.main(list(arguments) if arguments is not None else None, "openmsi", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        return _fail("interrupted", EXIT_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except OpenmsiError as error:
        return _fail(f"error: {error}", error.exit_code)
    except OSError as error:
        return _no_answer(error)
    return result if isinstance(result, int) else 0


def _no_answer(error: OSError) -> int:
    """The answer cannot be written, or a file cannot be read."""
    if isinstance(error, BrokenPipeError):  # whoever read it has gone: `openmsi topics peek T | head`
        sys.stderr.close()
        return EXIT_NO_READER
    return _fail(f"error: {error}; nothing more is done", EXIT_UNEXPECTED)


def _fail(text: str, code: int) -> int:
    from openmsi_core.model import shown

    # a report of several problems has a line for each; nothing else in a line may move the cursor
    click.echo("\n".join(shown(line) for line in f"openmsi: {text}".split("\n")), err=True)
    return code


def entry() -> None:
    """The console script."""
    sys.exit(main())

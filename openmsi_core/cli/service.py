"""``openmsi service``: any command line of ours, kept running by systemd, launchd or Windows."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from getpass import getuser
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openmsi_core.errors import EXIT_DONE, EXIT_SOME_FAILED, UsageError

if TYPE_CHECKING:
    from openmsi_core.services import Services


@click.group()
def service() -> None:
    """Keep a command of ours running: with the machine, after a crash, until it is stopped.

    Linux: systemd, macOS: launchd, Windows: its services (`pip install "openmsi[windows]"`).

    \b
    Example: openmsi service install archive -- run archive
    """


_NAME = click.argument("name")
_SYSTEM = click.option("--system", is_flag=True, help="A service of the machine (as root), not of this user.")


@service.command(context_settings={"ignore_unknown_options": True})
@_NAME
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
@_SYSTEM
@click.option("--account", default="", help="Whose service it is; with --system by default openmsi, which is created.")
@click.option("--env", "variables", multiple=True, metavar="VARIABLE", help="Hand it this variable; may be repeated.")
@click.option("--writes", multiple=True, type=click.Path(path_type=Path), help="A folder that it may write to.")
@click.option("--start/--no-start", default=True, show_default=True, help="Start it at once.")
def install(
    name: str,
    arguments: tuple[str, ...],
    *,
    system: bool,
    account: str,
    variables: tuple[str, ...],
    writes: tuple[Path, ...],
    start: bool,
) -> None:
    """Install COMMAND, everything after --, as the service NAME, and start it. A service of that name is replaced.

    It is started in the current folder. The variables OPENMSI_... and those of --env go to a file of mode 600 that it
    alone reads, and into no unit; so do not write a secret on the command line.

    \b
    Example: openmsi service install archive --writes /data/archive -- run disk --topic xrd-raw --folder /data/archive
    """
    from openmsi_core.services import Service, refuse_name, services_of

    refuse_name(name)
    _must_be_ours(arguments)
    plain, secret = _environment(variables, system=system)
    made = Service(
        name=name,
        command=(sys.executable, "-m", "openmsi_core"),
        arguments=arguments,
        folder=Path.cwd(),
        environment=plain,
        secrets=secret,
        writes=tuple(path.absolute() for path in (*writes, *_folders_in(arguments))),
        account=account,
    )
    services = services_of(system=system)
    done = services.install(made)
    click.echo("\n".join(done or [f"{name} is as it should be"]))
    if start:
        (services.restart if done else services.start)(name)
        click.echo(f"{name} runs")
    _say_lingering(system)


def _simple(verb: str, text: str, said: str) -> None:
    @_NAME
    @_SYSTEM
    def act(name: str, system: bool) -> None:
        from openmsi_core.services import refuse_name, services_of

        refuse_name(name)
        getattr(services_of(system=system), verb)(name)
        click.echo(f"{name} {said}")

    act.__doc__ = f"{text}\n\n\b\nExample: openmsi service {verb} archive\n"
    service.command(verb)(act)


_simple("start", "Start a service that is installed; one that runs is left alone.", "runs")
_simple("stop", "Stop a service: it finishes its checkpoint, and stays installed.", "is stopped")
_simple("restart", "Stop a service if it runs, and start it.", "runs")


@service.command()
@_NAME
@_SYSTEM
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def status(name: str, system: bool, as_json: bool) -> int:
    """How a service is. Exit code 0: it runs; 4: it does not.

    \b
    Example: openmsi service status archive
    """
    told = _services(name, system).status(name)
    if as_json:
        click.echo(json.dumps(told.as_json()))
    else:
        rest = [told.detail, f"process {told.pid}" if told.pid else ""]
        rest += [f"{told.restarts} restarts" if told.restarts else ""]
        rest += [f"exit code {told.exit_code}" if told.exit_code else ""]
        click.echo(": ".join(part for part in (f"{name} {told.state}", ", ".join(filter(None, rest))) if part))
    return EXIT_DONE if told.state == "running" else EXIT_SOME_FAILED


@service.command()
@_NAME
@_SYSTEM
@click.option("--lines", type=click.IntRange(1), default=50, show_default=True, help="So many of the last ones.")
@click.option("--follow", is_flag=True, help="And what comes, until Ctrl-C.")
def logs(name: str, system: bool, lines: int, follow: bool) -> None:
    """What a service said last.

    \b
    Example: openmsi service logs archive --follow
    """
    _services(name, system).logs(name, lines, follow=follow)


@service.command()
@_NAME
@_SYSTEM
def remove(name: str, system: bool) -> None:
    """Stop a service and forget it, with its file of variables. Its state, and what it has stored, stay.

    \b
    Example: openmsi service remove archive
    """
    for line in _services(name, system).remove(name):
        click.echo(line)


@service.command("exec", hidden=True, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--environment", type=click.Path(path_type=Path), help="A file of variables.")
@click.option("--rest-on", multiple=True, type=int, help="Tell the manager 0 for this exit code.")
@click.option("--windows", metavar="NAME", help="Be this service of Windows.")
@click.option("--folder", type=click.Path(path_type=Path), default=Path(), help="Where to start the command.")
@click.option("--log", type=click.Path(path_type=Path), help="Where its output goes.")
def exec_(
    arguments: tuple[str, ...],
    *,
    environment: Path | None,
    rest_on: tuple[int, ...],
    windows: str | None,
    folder: Path,
    log: Path | None,
) -> int:
    """What launchd and Windows start: COMMAND with its variables, and exit codes as these managers understand them.

    \b
    Example: openmsi service exec --environment archive.env --rest-on 2 -- run archive
    """
    from openmsi_core.cli import main
    from openmsi_core.services import environment_in
    from openmsi_core.services.hosting import Child, exit_code_for, interrupt_of_this_platform

    values = environment_in(environment) if environment is not None else {}
    if windows is None:
        os.environ.update(values)
        return exit_code_for(main(arguments), rest_on)
    from openmsi_core.services.pywin32 import host

    command = (sys.executable, "-m", "openmsi_core", *arguments)
    child = Child(command, folder, values, log or Path(f"{windows}.log"), interrupt_of_this_platform())
    return host(windows, child, rest_on)


def _say_lingering(system: bool) -> None:
    """What surprises everybody once."""
    if not system and sys.platform.startswith("linux") and not Path("/var/lib/systemd/linger", getuser()).exists():
        click.echo(
            "A service of a user ends with its last session, unless `loginctl enable-linger` was said.", err=True
        )


def _services(name: str, system: bool) -> Services:
    from openmsi_core.services import refuse_name, services_of

    refuse_name(name)
    return services_of(system=system)


def _must_be_ours(arguments: Sequence[str]) -> None:
    """Raises UsageError for a command that does not exist, ends by itself, or has a secret on its command line."""
    from openmsi_core.cli import COMMANDS
    from openmsi_core.settings import is_secret

    if arguments[0] not in COMMANDS or arguments[0] == "service":
        raise UsageError(f"{arguments[0]!r} is no command of openmsi that can be a service: `-- run ...`, for example.")
    for before, word in zip(["", *arguments], arguments, strict=False):
        key, equals, value = word.removeprefix("-X").partition("=")
        is_option = before == "-X" or word.startswith(("-X", "--"))
        if is_option and equals and is_secret(key) and not value.startswith("${"):
            raise UsageError(
                f"{key.strip('-')} is a secret, and a command line can be read by everybody: put it into a variable, "
                f"write {key.strip('-')}=${{VARIABLE}}, and add --env VARIABLE."
            )


def _environment(names: Sequence[str], *, system: bool) -> tuple[dict[str, str], dict[str, str]]:
    """What the service may be seen to have, and what it alone has. Raises UsageError."""
    from openmsi_core.settings import find

    secret = {name: value for name, value in os.environ.items() if name.startswith("OPENMSI_")}
    for name in names:
        if name not in os.environ:
            raise UsageError(f"--env {name}: this environment has no {name}. Set it for this one command.")
        secret[name] = os.environ[name]
    file = find()
    if file is not None:  # it may be found through the folder or the user of now, which the service does not share
        secret["OPENMSI_CONFIG"] = str(file.absolute())
    if system:
        secret.pop("OPENMSI_STATE", None)  # /var/lib/openmsi/NAME, where its account may write
    elif "OPENMSI_STATE" in secret:
        secret["OPENMSI_STATE"] = str(Path(secret["OPENMSI_STATE"]).absolute())
    plain = {"PYTHONUNBUFFERED": "1"}
    if "PYTHONPATH" in os.environ:  # a source tree, or plugins beside it
        plain["PYTHONPATH"] = os.environ["PYTHONPATH"]
    return plain, secret


def _folders_in(arguments: Sequence[str]) -> list[Path]:
    """The folder of a disk sink, which a system service may then write to. Raises SettingsError."""
    from openmsi_core.settings import load

    found = [Path(after) for word, after in pairwise(arguments) if word == "--folder"]
    found += [Path(word.partition("=")[2]) for word in arguments if word.startswith("--folder=")]
    if arguments[0] == "run" and len(arguments) > 1 and "--config" not in arguments:
        run = load().run.get(arguments[1])
        folder = run.options.get("folder") if run is not None else None
        found += [Path(folder)] if isinstance(folder, str) else []
    return found

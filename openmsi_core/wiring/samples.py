"""From a dead letter to a test: its file becomes a sample of the plugin's contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from openmsi_core.errors import FolderError, UsageError
from openmsi_core.plugins.samples import contract_class, with_reject
from openmsi_core.wiring.encrypting import UNENCRYPTED, Choice
from openmsi_core.wiring.letters import save_letter, show_letter


@dataclass(frozen=True, slots=True)
class Sampled:
    """Where the file is now, and the test file that names it."""

    sample: Path
    test: Path


def save_as_test(
    kafka: Mapping[str, str],
    state: Path,
    topic: str,
    letter_id: str,
    tests: Path,
    *,
    force: bool = False,
    choice: Choice = UNENCRYPTED,
) -> Sampled:
    """Save the file of a letter beside the contract class of its plugin in ``tests``, and name it under ``rejects``.

    Nothing is written when there is no such class. Raises NotWhole when its bytes are gone, UsageError, FolderError,
    TopicError, BrokerError.
    """
    letter = show_letter(kafka, topic, letter_id, choice)
    if not letter.get("file"):
        raise UsageError(f"letter {letter_id} is about a record that belongs to no file; only files become tests.")
    found = contract_class(tests, _names(letter))
    source = found.file.read_text("utf-8")
    try:
        found.samples_folder.mkdir(exist_ok=True)
        sample = save_letter(kafka, state, topic, letter_id, found.samples_folder, force=force, choice=choice)
        name = sample.relative_to(found.file.parent).as_posix()
        found.file.write_text(with_reject(source, found, name), "utf-8")
    except OSError as error:
        raise FolderError(f"{found.file.parent} cannot be written: {error.strerror or error}.") from error
    return Sampled(sample, found.file)


def _names(letter: Mapping[str, object]) -> set[str]:
    """What a contract may call the plugin of a letter, which may say anything."""
    plugin = letter.get("plugin")
    said = plugin if isinstance(plugin, dict) else {}
    return {str(said.get("name", "")), f"{said.get('package', '')}/{said.get('name', '')}"}

"""Checks of the plugin's options."""

from __future__ import annotations

import re

import pytest

from openmsi_core.errors import SettingsError
from openmsi_core.plugins.options import PluginOptions, flags_of, options_hash, parse
from openmsi_core.testing.checks import check
from openmsi_core.testing.contract.importing import ImportChecks

_SECRET = re.compile(r"passw|passphrase|token|secret|api_?key|credential", re.IGNORECASE)


class OptionChecks(ImportChecks):
    """The third group."""

    def _options(self) -> type[PluginOptions]:
        return self.cls().Options

    @check("options-schema", "options")
    def test_options_schema(self) -> None:
        """The options have a JSON Schema, so that configuration files can be checked and completed."""
        try:
            schema = self._options().model_json_schema()
        except Exception as error:  # noqa: BLE001 - pydantic raises many kinds; told
            pytest.fail(
                f"the options of {self.plugin} have no JSON Schema ({type(error).__name__}: {error}): use plain types "
                "such as str, int, float, bool, Path, Literal and lists of them"
            )
        assert set(schema.get("properties", {})) == set(self._options().model_fields)

    @check("options-described", "options")
    def test_options_described(self) -> None:
        """Each option has a text under it, which becomes the help of its flag."""
        bare = [flag.field for flag in flags_of(self._options()) if not flag.help]
        assert not bare, f'no text under {", ".join(bare)}: write """What it does.""" in the line below the field'

    @check("options-defaults", "options")
    def test_options_defaults(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        """The options that the contract gives are valid, and so is every default."""
        given = self.options_in(tmp_path_factory.mktemp("options"))
        try:
            parsed = parse(self._options(), given, self.plugin)
        except SettingsError as error:
            pytest.fail(f"{error} (a wrong default, or one that the contract must give: options = {{...}})")
        assert re.fullmatch("[0-9a-f]{8}", options_hash(parsed))

    @check("options-unknown", "options")
    def test_options_unknown(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        """An option that does not exist is refused, so that a misspelt one is found."""
        given = dict(self.options_in(tmp_path_factory.mktemp("options"))) | {"no_such_option_of_anybody": 1}
        try:
            parse(self._options(), given, self.plugin)
        except SettingsError:
            return
        pytest.fail(
            f"{self.plugin} takes an option that does not exist: remove model_config (extra='allow' or 'ignore') from "
            "its Options, or a misspelt option will be silently ignored"
        )

    @check("options-secrets", "options")
    def test_options_secrets(self) -> None:
        """Passwords and tokens are SecretStr, so that no log shows them."""
        plain = [flag.field for flag in flags_of(self._options()) if _SECRET.search(flag.field) and not flag.is_secret]
        assert not plain, (
            f"{', '.join(plain)} will be shown in logs and process lists: make the type SecretStr (from pydantic), and "
            "read it with .get_secret_value()"
        )

"""``dnar2mae config``."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from dnar2mae.cli.output import json_at_end
from dnar2mae.cli.parse import parse_subcommand

_ABOUT = """Show the settings of a run, or those in which two runs differ.

Example: dnar2mae config diff runs/first runs/second"""


@dataclass(frozen=True, kw_only=True)
class ShowCommand:
    """Print every setting of a run by the name of its flag.

    Example: dnar2mae config show runs/first --changed
    """

    source: Positional[Path]
    """Run directory, or a YAML file of settings."""
    changed: bool = False
    """Only those that are not the default of the modality."""
    json: bool = False
    """Print them as JSON."""

    def run(self) -> int:
        """Read, print."""
        from dnar2mae.run.config_file import changed_settings, flatten, read_settings

        config = read_settings(self.source)
        settings = changed_settings(config) if self.changed else flatten(config)
        with json_at_end(self.json) as hand_over:
            for name, value in settings.items():
                print(_flag(name), _text(value))
            hand_over(settings)
        return 0


@dataclass(frozen=True, kw_only=True)
class DiffCommand:
    """Print the settings in which two runs differ, with both values; exit with 1 if there are any, as diff does.

    Example: dnar2mae config diff runs/first runs/second
    """

    first: Positional[Path]
    """Run directory, or a YAML file of settings."""
    second: Positional[Path]
    """The other one."""
    json: bool = False
    """Print them as JSON: by setting, a list of both values."""

    def run(self) -> int:
        """Read both, print."""
        from dnar2mae.run.config_file import differences, flatten, read_settings

        differ = differences(flatten(read_settings(self.first)), flatten(read_settings(self.second)))
        with json_at_end(self.json) as hand_over:
            for name, (first, second) in differ.items():
                print(f"{_flag(name)} {_text(first)} -> {_text(second)}")
            hand_over(differ)
        return 1 if differ else 0


def run(argv: list[str]) -> int:
    """Parse ``dnar2mae config ...`` and run it."""
    commands = {"show": ShowCommand, "diff": DiffCommand}
    return parse_subcommand(commands, argv, prog="dnar2mae config", description=_ABOUT).run()


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _text(value: object) -> str:
    """Return a value as it is typed after its flag."""
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)

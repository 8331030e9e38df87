"""Parse flags into dataclasses, by tyro, with our own errors in one line."""

from collections import Counter
from contextlib import redirect_stderr
from dataclasses import fields, is_dataclass
from io import StringIO
from typing import Annotated, Any, Union, get_args, get_type_hints

import tyro
from tyro.conf import subcommand

from dnar2mae.cli import unknown_command
from dnar2mae.errors import ConfigError, Dnar2maeError

PRINT_COMPLETION = "--tyro-print-completion"
"""Tyro's flag, before the name of a shell, that prints what it knows of a command."""


def parse(target: Any, argv: list[str], **settings: Any) -> Any:
    """Parse flags into ``target`` as ``tyro.cli`` does.

    A setting that breaks its rule raises its own error instead of tyro's box around it; help and wrong flags are
    printed by tyro, which then exits.

    Raises
    ------
    Dnar2maeError
        If a setting breaks its rule, or a flag of any number of values is given twice (tyro would keep the last).
    """
    if not {"-h", "--help", PRINT_COMPLETION}.isdisjoint(argv):
        return tyro.cli(target, args=argv, **settings)
    try:
        with redirect_stderr(StringIO()):
            parsed = tyro.cli(target, args=argv, **settings)
    except SystemExit as stop:
        # tyro wraps the errors of __post_init__: ours is somewhere in the chain of causes.
        error: BaseException | None = stop
        while error is not None:
            if isinstance(error, Dnar2maeError):
                raise error from None
            error = error.__cause__ or error.__context__
        # A wrong flag: parse again, now with tyro's message on stderr.
        return tyro.cli(target, args=argv, **settings)
    flags = Counter(word.partition("=")[0] for word in argv if word.startswith("--"))
    several = _flags_of_any_number(parsed)
    for flag, times in flags.items():
        if times > 1 and flag.rpartition(".")[2].removeprefix("--").replace("_", "-") in several:
            raise ConfigError(f"{flag} is given {times} times; it takes several values behind one: {flag} A B")
    return parsed


def _flags_of_any_number(settings: Any) -> set[str]:
    """Return the names of flags, without dashes and what they belong to, that take any number of values."""
    if not is_dataclass(settings) or isinstance(settings, type):
        return set()
    names: set[str] = set()
    hints = get_type_hints(type(settings), include_extras=True)
    for field in fields(settings):
        value = getattr(settings, field.name)
        if _has_ellipsis(hints[field.name]):
            given = [
                mark.name for mark in getattr(hints[field.name], "__metadata__", ()) if getattr(mark, "name", None)
            ]
            names.add((given or [field.name])[0].replace("_", "-"))
        names |= _flags_of_any_number(value)
    return names


def _has_ellipsis(hint: Any) -> bool:
    return any(part is Ellipsis or _has_ellipsis(part) for part in get_args(hint))


def parse_subcommand(commands: dict[str, type], argv: list[str], *, prog: str, description: str) -> Any:
    """Parse the flags of one of several commands, by their names, as :func:`parse` does.

    Raises
    ------
    ConfigError
        If there is no command of that name.
    """
    if argv and not argv[0].startswith("-") and argv[0] not in commands:
        raise ConfigError(f"{prog.removeprefix('dnar2mae ')}: {unknown_command(argv[0], commands)}")
    union: Any = Union[tuple(Annotated[command, subcommand(name)] for name, command in commands.items())]  # noqa: UP007
    return parse(union, argv, prog=prog, description=description)


def peek(argv: list[str], *names: str, flags: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the values of some flags before tyro can parse all: those that decide the defaults of others.

    ``flags`` take no value. Names in the result have no dashes.
    """
    import argparse

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in names:
        parser.add_argument(name, nargs="?")
    for flag in flags:
        parser.add_argument(flag, action="store_true")
    known, _ = parser.parse_known_args(argv)
    return vars(known)

"""``dnar2mae completion``."""

import ast
import importlib
import json
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from shlex import quote
from typing import Any, Literal

from tyro.conf import Positional

from dnar2mae.cli.parse import PRINT_COMPLETION, parse

_BASH = """_dnar2mae() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} last=${{COMP_WORDS[COMP_CWORD-1]}} path="" word words="" flags=""
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$path $word" in
            {paths}) path="$path $word" ;;
        esac
    done
    case "$path" in
{options}
    esac
    [[ $current == -* ]] && words=$flags
    case "$path $last" in
{choices}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _dnar2mae dnar2mae"""


@dataclass(frozen=True, kw_only=True)
class CompletionCommand:
    """Print the completion of commands and flags for a shell.

    Example: dnar2mae completion bash

    bash: dnar2mae completion bash > ~/.local/share/bash-completion/completions/dnar2mae
    zsh:  dnar2mae completion zsh > ~/.dnar2mae.zsh, and in ~/.zshrc, after compinit: source ~/.dnar2mae.zsh
    fish: dnar2mae completion fish > ~/.config/fish/completions/dnar2mae.fish
    """

    shell: Positional[Literal["bash", "zsh", "fish"]]
    """The shell that reads it."""


def run(argv: list[str]) -> int:
    """Parse, print the script."""
    command = parse(CompletionCommand, argv, prog="dnar2mae completion")
    tree = command_tree()
    if command.shell == "fish":
        print("\n".join(_fish(tree)))
    else:
        # zsh takes bash's by its own emulation
        print("autoload -U bashcompinit && bashcompinit\n" * (command.shell == "zsh") + _bash(tree))
    return 0


def command_tree() -> dict[str, Any]:
    """Return what tyro knows of all commands: for each its ``options`` and ``subcommands``, as nested dictionaries."""
    from dnar2mae.cli import COMMANDS

    top = [{"flags": [flag]} for flag in ("--help", "--version", "--debug")]
    return {"options": top, "subcommands": {name: _spec(name) | {"about": text} for name, text in COMMANDS.items()}}


def _spec(command: str) -> dict[str, Any]:
    module = importlib.import_module(f"dnar2mae.cli.{command.replace('-', '_')}")
    if before := getattr(module, "SUBCOMMAND", ()):
        return {"options": [], "subcommands": {before[0]: _printed(module, *before)}}
    spec = _printed(module)
    parts = {part: _printed(module, part) for part in getattr(module, "PARTS", ())}
    return spec | {"subcommands": spec["subcommands"] | parts}


def _printed(module: Any, *before: str) -> dict[str, Any]:
    """Return tyro's table of the flags that come after these words."""
    with redirect_stdout(StringIO()) as printed, suppress(SystemExit):
        module.run([*before, PRINT_COMPLETION, "bash"])
    # tyro's script is a program of its own for each command; only the table in it is of use for all at once
    [line] = [text for text in printed.getvalue().splitlines() if text.startswith("COMPLETION_SPEC = ")]
    return ast.literal_eval(line.removeprefix("COMPLETION_SPEC = "))


def _walk(tree: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    yield path, tree
    for name, inside in tree["subcommands"].items():
        yield from _walk(inside, (*path, name))


def _bash(tree: dict[str, Any]) -> str:
    levels = [("".join(f" {name}" for name in path), level) for path, level in _walk(tree)]
    options, choices = [], []
    for path, level in levels:
        flags = [flag for option in level["options"] for flag in option["flags"]]
        options.append(
            f"        {quote(path)}) words={quote(' '.join(level['subcommands']))} flags={quote(' '.join(flags))} ;;"
        )
        for option in level["options"]:
            if values := option.get("choices"):
                patterns = "|".join(quote(f"{path} {flag}") for flag in option["flags"])
                choices.append(f"        {patterns}) words={quote(' '.join(map(str, values)))} ;;")
    paths = "|".join(quote(path) for path, _ in levels if path)
    return _BASH.format(paths=paths, options="\n".join(options), choices="\n".join(choices))


def _fish(tree: dict[str, Any]) -> Iterator[str]:
    for path, level in _walk(tree):
        seen = [f"__fish_seen_subcommand_from {name}" for name in path]
        below = level["subcommands"]
        before = f"not __fish_seen_subcommand_from {' '.join(below)}"
        for name, inside in below.items():
            about = json.dumps(inside.get("about", ""), ensure_ascii=False)
            yield f"complete -c dnar2mae -f -n {quote('; and '.join([*seen, before]))} -a {name} -d {about}"
        for option in level["options"]:
            flags = " ".join(f"-l {flag[2:]}" for flag in option["flags"] if flag.startswith("--"))
            values = f" -x -a {quote(' '.join(map(str, option['choices'])))}" if option.get("choices") else ""
            if flags:
                yield f"complete -c dnar2mae -n {quote('; and '.join(seen) or before)} {flags}{values}"

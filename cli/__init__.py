"""The command line: ``dnar2mae COMMAND``. Each command is a module with ``run(argv)``, imported when called."""

import importlib
import os
import sys
import textwrap
import warnings
from collections.abc import Collection
from difflib import get_close_matches

from dnar2mae import __version__

COMMANDS = {
    "pretrain": "Pretrain a masked model on your genome.",
    "finetune": "Fine-tune a pretrained model on your own labels.",
    "predict": "Apply a fine-tuned model to a file.",
    "tokenizer": "Train a BPE, WordPiece or Unigram tokenizer on text or DNA.",
    "simulate": "Write a genome with planted, annotated structure (FASTA and GFF3).",
    "export": "Write a trained model as a Hugging Face folder.",
    "compare": "Compare mask laws: same model, windows and budget, several seeds.",
    "covariance": "Estimate the covariance of your data, and the mask law that a linear model suggests for it.",
    "theory": "Compute what ridgeless regression says about mask ratios, with plots and CSV.",
    "doctor": "Show the versions, devices and backends that a run would use on this machine.",
    "embed": "Embed the sequences of a FASTA, BED or CSV file.",
    "score-variants": "Score the variants of a VCF file.",
    "tracks": "Write what a model predicts of every base of a genome, for a genome browser.",
    "likelihood": "Count the bits that a model needs for held-out bases, exactly and at most.",
    "generate": "Draw sequences from a model, redraw regions, fill runs of N.",
    "report": "Write one HTML page about a run: its losses, controls, embeddings and draws.",
    "plot": "Draw regions of a genome, mutagenesis and dependency maps, embeddings and runs.",
    "benchmark": "Judge models on suites of sequence tasks, and make suites from your annotation.",
    "audit": "Count test sequences that have a homologue in the training set.",
    "config": "Show the settings of a run, or those in which two runs differ.",
    "completion": "Print the completion of commands and flags for bash, zsh or fish.",
    "demo": "Simulate a genome, pretrain on it, show what was learned; minutes on a CPU.",
}

_USAGE = """usage: dnar2mae [--debug] COMMAND ...

Masked foundation models of your own genome, with randomly random mask ratios
(R2MAE).

commands:
{commands}

Example: dnar2mae pretrain genome.fa.gz --out runs/first

dnar2mae COMMAND --help explains a command; --debug shows the whole traceback of
an error; --version the version.

Exit codes: 0 done; 1 done, and the result is negative (a cell of a benchmark
failed, two runs differ, more is leaked than --fail-above allows); 2 bad input;
130 interrupted."""


def main(argv: list[str] | None = None) -> int:
    """Run a command; errors meant for the user become one line on stderr and exit code 2."""
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = bool(argv) and argv[0] == "--debug"
    argv = argv[debug:]
    if not argv or argv[0] in ("-h", "--help"):
        lines = (
            textwrap.fill(f"  {name:14} {text}", 80, subsequent_indent=" " * 17) for name, text in COMMANDS.items()
        )
        print(_USAGE.format(commands="\n".join(lines)))
        return 0
    if argv[0] == "--version":
        print(__version__)
        return 0
    if argv[0] not in COMMANDS:
        return _fail(unknown_command(argv[0], COMMANDS))
    return _run(argv[0], argv[1:], debug)


def unknown_command(given: str, known: Collection[str]) -> str:
    """Return a message that names the command that was meant, or all that there are."""
    close = get_close_matches(given, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"expected one of: {', '.join(known)}"
    return f"unknown command {given!r}; {hint}"


def _run(command: str, argv: list[str], debug: bool) -> int:
    from dnar2mae.errors import Dnar2maeError

    if os.environ.get("NO_COLOR"):
        os.environ.setdefault("PYTHON_TYRO_ANSI_CODES", "False")  # tyro reads no other variable, and that when imported
    module = importlib.import_module(f"dnar2mae.cli.{command.replace('-', '_')}")
    usual = warnings.formatwarning
    try:
        if not debug:
            warnings.formatwarning = _warning_line
        return module.run(argv)
    except Dnar2maeError as error:
        if debug:
            raise
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("interrupted", code=130)
    except BrokenPipeError:
        sys.stderr.close()  # else Python complains of the closed pipe once more as it exits
        return 141  # 128 + SIGPIPE, as a shell reports it
    finally:
        warnings.formatwarning = usual


def _warning_line(message: Warning | str, category: type[Warning], *where: object, **_: object) -> str:
    return f"dnar2mae: {_rank()}warning: {message}\n"


def _rank() -> str:
    """Return the rank as a prefix of messages under torchrun, else nothing."""
    return f"rank {os.environ['RANK']}: " if int(os.environ.get("WORLD_SIZE", "1")) > 1 else ""


def _fail(message: str, code: int = 2) -> int:
    print(f"dnar2mae: {_rank()}{message}", file=sys.stderr)
    return code

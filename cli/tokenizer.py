"""``dnar2mae tokenizer``."""

from dnar2mae.cli.parse import parse
from dnar2mae.tokenizer_training import TokenizerTraining, train_tokenizer


def run(argv: list[str]) -> int:
    """Parse, train, say what was written."""
    if argv[:1] != ["train"]:
        known = "-h" in argv or "--help" in argv
        print("usage: dnar2mae tokenizer train INPUT... --out FILE [options]; see dnar2mae tokenizer train --help")
        return 0 if known else 2
    command = parse(TokenizerTraining, argv[1:], prog="dnar2mae tokenizer train")
    size = train_tokenizer(command)
    short = f" (of {command.vocabulary_size:,} asked for: the input has no more to merge)"
    print(f"Wrote {command.out}: {size:,} tokens{short if size < command.vocabulary_size else ''}")
    return 0

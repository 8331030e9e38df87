"""``dnar2mae tokenizer``."""

from dnar2mae.cli.parse import parse
from dnar2mae.tokenizers.train import TokenizerTraining, train_tokenizer

_USAGE = """usage: dnar2mae tokenizer train INPUT... --out FILE [options]

Example: dnar2mae tokenizer train genome.fa.gz --out bpe.json --modality dna

dnar2mae tokenizer train --help explains the options."""

SUBCOMMAND = ("train",)
"""What stands before the flags, for their completion."""


def run(argv: list[str]) -> int:
    """Parse, train, print the number of tokens."""
    if argv[:1] != ["train"]:
        known = "-h" in argv or "--help" in argv
        print(_USAGE)
        return 0 if known else 2
    command = parse(TokenizerTraining, argv[1:], prog="dnar2mae tokenizer train")
    size = train(command)
    short = f" (of {command.vocabulary_size:,} asked for: the input has no more to merge)"
    print(f"Wrote {command.out}: {size:,} tokens{short if size < command.vocabulary_size else ''}")
    return 0


def train(command: TokenizerTraining) -> int:
    """Open the input of the command and train on it; return the number of tokens."""
    if command.modality == "dna":
        from dnar2mae.genome.chunks import spaced_chunks

        text = spaced_chunks(command.paths, max_letters=command.max_letters, both_strands=command.both_strands)
    else:
        from dnar2mae.modalities.text.readers import spaced_documents

        text = spaced_documents(command.paths, field=command.field, max_letters=command.max_letters)
    return train_tokenizer(command, text)

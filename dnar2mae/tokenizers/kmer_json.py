"""The k-mer tokenizer as a ``tokenizer.json`` of Hugging Face's ``tokenizers``, with the same ids and no code."""

import json
from pathlib import Path
from typing import Any

from dnar2mae.errors import RunError, raising
from dnar2mae.tokenizers import SPECIAL_TOKENS, KmerTokenizer

# all that is left of a text once it is normalised
_LETTER = "[ACGTN]"
# every stride cuts it into other tokens, and one N is in it
_PROBE = "ACGTTGCAAGGCTTAACCGTATCGGATTACAGNCATGCTAGGTCAACTGGAATTCCGCGATATAGC"


def write_tokenizer(tokenizer: KmerTokenizer, folder: Path, max_tokens: int) -> None:
    """Write ``tokenizer.json``, ``tokenizer_config.json`` and ``special_tokens_map.json``.

    ``max_tokens`` is the longest input the model was trained on; ``transformers`` warns about longer ones.
    """
    names = {f"{t.strip('[]').lower()}_token": t for t in SPECIAL_TOKENS}
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_tokens,
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
        "padding_side": "right",
        **names,
    }
    to_tokenizers(tokenizer).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1))
    (folder / "special_tokens_map.json").write_text(json.dumps(names, indent=1))


def read_tokenizer(folder: Path) -> KmerTokenizer:
    """Find the k and stride whose vocabulary and ids a ``tokenizer.json`` has.

    Raises
    ------
    RunError
        If the file is missing or damaged, or its tokens are not A, C, G, T k-mers in this package's order.
    """
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    # the package raises plain exceptions
    with raising(RunError, f"{file}: not a tokenizer.json that can be read", Exception):
        saved = Tokenizer.from_str(file.read_text())
    vocabulary = saved.get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    k = len(tokens[len(SPECIAL_TOKENS)]) if len(tokens) > len(SPECIAL_TOKENS) else 0
    if 1 <= k <= 8 and tokens == KmerTokenizer(k).tokens():
        # the vocabulary does not show the stride, only the tokens of a sequence do
        for stride in range(k, 0, -1):
            tokenizer = KmerTokenizer(k, stride)
            if saved.encode(_PROBE).ids == tokenizer.encode_text(_PROBE).tolist():
                return tokenizer
    raise RunError(
        f"{file}: expected the tokens {', '.join(SPECIAL_TOKENS)} and all k-mers of A, C, G, T as dnar2mae "
        f"export writes them, got {len(tokens)} tokens: {', '.join(tokens[:6])}, ..."
    )


def to_tokenizers(tokenizer: KmerTokenizer) -> Any:
    """Build the ``tokenizers.Tokenizer`` with the ids of :meth:`KmerTokenizer.encode_text`.

    Lower case and U are read as ``encode_text`` reads them, white space is dropped, a token with any letter but A,
    C, G, T is [UNK], and [MASK] may stand in the text for one token (for overlapping tokens, between two stretches
    of them).

    Notes
    -----
    Tokens that do not overlap are cut by one regular expression. Overlapping ones are grown: a space goes between
    any two bases, then each token takes its (m+1)-th letter from the m-th of the token after it, one regular
    expression for each m < k and each letter; then unfinished tokens, and those between two strides, are dropped.
    Decoded, tokens stand side by side without spaces, and of overlapping ones all but the last give ``stride`` bases.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    k, stride = tokenizer.k, tokenizer.stride
    replace: list[tuple[Any, str]] = [(Regex(r"\s+"), ""), *((a, b) for a, b in ("aA", "cC", "gG", "tT", "uT", "UT"))]
    # the matches are the tokens, and what lies between two of them (bases left over at the end) is removed
    cut = pre_tokenizers.Split(Regex(f".{{{k}}}"), "removed", invert=True)
    joined: list[Any] = [decoders.Fuse()]
    if stride < k:
        # one base a token, apart by spaces; a letter that is no base must be one of those that tokens grow by
        replace += [(Regex("[^ACGT]"), "N"), (Regex("(?<=.)(?=.)"), " ")]
        for have in range(1, k):
            # tokens of `have` letters grow by one; a grown one keeps its first letters, which the one before looks at
            before = f"(?<=(?:^| ){_LETTER}{{{have}}})"
            replace += [(Regex(f"{before} (?={_LETTER}{{{have - 1}}}{b})"), f"{b} ") for b in "ACGTN"]
        # the last tokens have too few tokens after them to become k letters long
        replace.append((Regex(f"(?:(?:^| ){_LETTER}{{1,{k - 1}}})+$"), ""))
        # there is a token at every base by now: of each stride, all but the first are removed
        between = f" (?:{_LETTER}{{{k}}}(?: |$)){{1,{stride - 1}}}" if stride > 1 else " "
        cut = pre_tokenizers.Split(Regex(between), "removed")
        # a space before each token; then, where another one follows, all but the first bases of a token are removed
        rest = f"(?<= {_LETTER}{{{stride}}}){_LETTER}{{{k - stride}}} (?={_LETTER})"
        joined = [decoders.Replace(Regex("^"), " "), *joined, decoders.Replace(Regex(rest), "")]
        joined.append(decoders.Replace(" ", ""))
    built = Tokenizer(models.WordLevel({t: i for i, t in enumerate(tokenizer.tokens())}, unk_token="[UNK]"))
    built.normalizer = normalizers.Sequence([normalizers.Replace(*pair) for pair in replace])
    built.pre_tokenizer = cut
    built.decoder = decoders.Sequence(joined)
    built.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL_TOKENS])
    return built

"""From base codes to token ids."""

from dnar2mae.tokenizers.kmer import SPECIAL_TOKENS, KmerTokenizer
from dnar2mae.tokenizers.vocabulary import Vocabulary

__all__ = ["SPECIAL_TOKENS", "KmerTokenizer", "Vocabulary"]

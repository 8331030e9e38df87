"""From base codes or text to token ids."""

from dnar2mae.tokenizers.file import FileTokenizer
from dnar2mae.tokenizers.kmer import KmerTokenizer
from dnar2mae.tokenizers.vocabulary import SPECIAL_TOKENS, ByteTokenizer, Encoded, Vocabulary

__all__ = ["SPECIAL_TOKENS", "ByteTokenizer", "Encoded", "FileTokenizer", "KmerTokenizer", "Vocabulary"]

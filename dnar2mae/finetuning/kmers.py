"""K-mer counts as sparse feature vectors: the baseline that needs no network."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix, hstack

from dnar2mae.genome.alphabet import UNKNOWN, encode

MAX_K = 5


def kmer_counts(sequences: Sequence[str], max_k: int = MAX_K) -> csr_matrix:
    """Return the square roots of the counts of all k-mers of 1 to ``max_k`` bases.

    Parameters
    ----------
    sequences
        Upper-case A, C, G, T, N; k-mers with an N are not counted.
    max_k
        Longest k-mer.

    Returns
    -------
    csr_matrix
        ``float64`` ``[N, 4 + 16 + ... + 4**max_k]``; within each k in alphabetical order.
    """
    # One N after each sequence keeps k-mers from crossing into the next.
    codes = encode(("N".join(sequences) + "N").encode())
    row = np.repeat(np.arange(len(sequences)), [len(sequence) + 1 for sequence in sequences])
    known = codes != UNKNOWN
    blocks, index, whole = [], np.zeros(len(codes), np.int64), np.ones(len(codes), bool)
    for k in range(1, max_k + 1):
        ahead = np.roll(codes, 1 - k).astype(np.int64)
        index = index * 4 + ahead % 4
        whole = whole & np.roll(known, 1 - k)
        ones = np.ones(int(whole.sum()))
        counts = coo_matrix((ones, (row[whole], index[whole])), shape=(len(sequences), 4**k)).tocsr()
        blocks.append(counts.sqrt())  # roots of counts have about the same variance, whatever their mean
    return hstack(blocks, format="csr")

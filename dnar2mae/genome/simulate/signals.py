"""The stated signals: motifs as position weight matrices, codon usage, repeat families.

A motif is written as an IUPAC consensus. A position holds one of the bases its letter stands for with the
probability ``strong`` (upper case) or ``weak`` (lower case), equally among them, and one of the others else.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from dnar2mae.genome.alphabet import encode
from dnar2mae.genome.motifs import Motifs

_IUPAC = {"A": "A", "C": "C", "G": "G", "T": "T", "R": "AG", "Y": "CT", "S": "CG", "W": "AT", "N": "ACGT"}


def pwm(consensus: str, strong: float = 0.97, weak: float = 0.7) -> Float[np.ndarray, "L 4"]:
    """Return base probabilities (A C G T) at each position of a consensus; rows sum to 1."""
    rows = np.zeros((len(consensus), 4))
    for row, letter in zip(rows, consensus, strict=True):
        allowed = np.array([base in _IUPAC[letter.upper()] for base in "ACGT"])
        share = 1.0 if allowed.all() else strong if letter.isupper() else weak
        row[allowed] = share / allowed.sum()
        row[~allowed] = (1 - share) / max((~allowed).sum(), 1)
    return rows


TF_MOTIFS = {
    "SP1": pwm("gGGGCGGGgc"),
    "NFYA": pwm("rrCCAATSrg"),
    "CREB1": pwm("rTGACGTCAy"),
    "GABPA": pwm("aCCGGAAGTg"),
    "MYC": pwm("ccCACGTGgg"),
    "GATA1": pwm("wwGATAAGr"),
    "FOS": pwm("rTGASTCAy"),
    "NRF1": pwm("GCGCAtGCGC"),
}
"""Transcription-factor binding sites, after the consensus of their JASPAR matrices."""

TATA_BOX = pwm("TATAWAAr")
INITIATOR = pwm("yYANWYy")
"""The A is the transcription start site, +1."""
KOZAK = pwm("gccRcc", weak=0.6)
"""The six bases before the start codon."""
DONOR = pwm("GTragt", strong=1.0, weak=0.85)
"""First bases of an intron; the exon before it ends in AG where its codons allow."""
ACCEPTOR = pwm("nyAG", strong=1.0, weak=0.85)
"""Last bases of an intron."""
BRANCH_SITE = pwm("ynyTrAy", weak=0.8)
POLYPYRIMIDINE = pwm("y" * 14, weak=0.9)
POLYA_SIGNAL = pwm("AwTAAA")

AMINO_ACIDS: dict[str, tuple[float, str]] = {
    "A": (7.0, "GCC GCT GCA GCG"),
    "C": (2.3, "TGC TGT"),
    "D": (4.7, "GAC GAT"),
    "E": (7.1, "GAG GAA"),
    "F": (3.7, "TTC TTT"),
    "G": (6.6, "GGC GGA GGG GGT"),
    "H": (2.6, "CAC CAT"),
    "I": (4.3, "ATC ATT ATA"),
    "K": (5.7, "AAG AAA"),
    "L": (10.0, "CTG CTC TTG CTT TTA CTA"),
    "M": (2.1, "ATG"),
    "N": (3.6, "AAC AAT"),
    "P": (6.3, "CCC CCT CCA CCG"),
    "Q": (4.8, "CAG CAA"),
    "R": (5.6, "AGA CGG AGG CGC CGA CGT"),
    "S": (8.3, "AGC TCC TCT TCA AGT TCG"),
    "T": (5.4, "ACC ACA ACT ACG"),
    "V": (6.0, "GTG GTC GTT GTA"),
    "W": (1.2, "TGG"),
    "Y": (2.7, "TAC TAT"),
}
"""Share (percent, about the human proteome's) and codons, most used first (the human order)."""
CODON_SHARES = {
    1: (1.0,),
    2: (0.75, 0.25),
    3: (0.6, 0.3, 0.1),
    4: (0.5, 0.25, 0.17, 0.08),
    6: (0.42, 0.22, 0.14, 0.1, 0.08, 0.04),
}
"""Shares of an amino acid's codons by rank: a stronger bias than human, as in highly expressed genes."""
STOPS = "TGA TAA TAG"
STOP_SHARES = (0.5, 0.3, 0.2)


def tf_motifs(gc: float) -> Motifs:
    """Return the matrices of the binding sites, with the base shares of a genome of this GC share."""
    return Motifs(matrices=TF_MOTIFS, background=np.array([1 - gc, gc, gc, 1 - gc]) / 2)


def codon_usage() -> tuple[UInt8[np.ndarray, "61 3"], Float[np.ndarray, " 61"]]:
    """Return the base codes and the shares (they sum to 1) of the sense codons."""
    codons, shares = [], []
    for percent, synonyms in AMINO_ACIDS.values():
        names = synonyms.split()
        codons += [encode(codon.encode()) for codon in names]
        shares += [percent * share for share in CODON_SHARES[len(names)]]
    return np.stack(codons), np.array(shares) / sum(shares)


class RepeatFamily(NamedTuple):
    """One family of interspersed repeats; its consensus is drawn once a genome."""

    name: str
    length_bp: int
    """Length of the consensus, with its poly-A tail."""
    shortest_bp: int
    """Shortest copy; shorter ones lack their 5' end."""
    gc: float
    divergence: float
    """Mean share of substituted bases in a copy; copies vary from half to one and a half times it."""
    copies: float
    """Share among the copies of all families and tandem repeats."""


REPEAT_FAMILIES = (
    RepeatFamily("SINE1", 300, 280, 0.55, 0.10, 0.6),
    RepeatFamily("DNA1", 180, 160, 0.40, 0.12, 0.15),
    RepeatFamily("LINE1", 1000, 150, 0.42, 0.08, 0.05),
)
"""One family makes up most of the copies, as Alu does in primates, so that a small model soon finds it; the
copies that are left are tandem repeats."""
POLYA_TAIL_BP = 15
TANDEM_UNITS = ("A", "AC", "AG", "AT", "AAT", "AGC", "AAAG", "AAAT", "GATA", "TTAGGG")
TANDEM_DIVERGENCE = 0.03
CPG_ISLAND = np.array([0.17, 0.33, 0.33, 0.17])
"""Base shares of a CpG island; bases are independent, so CpG is as frequent as C times G."""

"""Sequences that are alike by descent: clusters of them, splits that keep these together, and audits of splits."""

from dnar2mae.homology.audit import Audit, Level, audit
from dnar2mae.homology.cluster import SPLIT_NAMES, clusters, split_by_homology
from dnar2mae.homology.identity import COVERAGE, identity
from dnar2mae.homology.search import IDENTITIES, Homologues, homologues

__all__ = [
    "COVERAGE",
    "IDENTITIES",
    "SPLIT_NAMES",
    "Audit",
    "Homologues",
    "Level",
    "audit",
    "clusters",
    "homologues",
    "identity",
    "split_by_homology",
]

"""Names of sequences: one genome calls its first chromosome ``1``, another ``chr1``."""

_MITOCHONDRION = ("M", "MT", "Mt", "Mito", "MtDNA", "chrM", "chrMT", "chrMito", "chrmt")


def aliases(name: str) -> tuple[str, ...]:
    """Return the usual names of a sequence: its own, that with or without ``chr``, and those of a mitochondrion."""
    other = name.removeprefix("chr") if name.startswith("chr") else f"chr{name}"
    return tuple(dict.fromkeys((name, other, *(_MITOCHONDRION if name in _MITOCHONDRION else ()))))

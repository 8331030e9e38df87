"""Write the tables of README.md and docs/ from their rows: ``python -m dnar2mae.benchmarks.figures``.

``check`` changes nothing and fails where a page differs or a figure is older than its code and not marked so; ``record
NAME ...`` takes commit, machine, date and digests from the rows as they are now; by ``--equal COMMIT`` the digests are
of a later commit whose code differs in its form alone, as ``python -m tests.same_numbers`` shows; ``mark NAME ... --why
TEXT`` says that figures are older than their code (without a name, all that are and are not marked).
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

from dnar2mae.benchmarks.figures import pages, pedigree
from dnar2mae.benchmarks.figures.tables import FIGURES, LISTINGS
from dnar2mae.errors import ConfigError, Dnar2maeError


def check() -> list[str]:
    """Return what is wrong with the figures and the pages, a line each."""
    pedigrees = pedigree.load()
    faults = [line for name, figure in FIGURES.items() for line in pedigree.problems(figure, pedigrees.get(name))]
    if not FIGURES.keys() <= pedigrees.keys():
        return faults
    for page in pages.pages():
        text = page.read_text()
        if pages.written(text, FIGURES, LISTINGS, pedigrees) != text:
            faults.append(f"{page.relative_to(pages.ROOT)}: differs from its rows; run make figures")
    return faults


def write() -> None:
    """Write every page that differs from its rows."""
    pedigrees = pedigree.load()
    for page in pages.pages():
        text = page.read_text()
        if (new := pages.written(text, FIGURES, LISTINGS, pedigrees)) != text:
            page.write_text(new)
            print(f"written: {page.relative_to(pages.ROOT)}")


def record(names: Sequence[str], equal: str) -> None:
    """Record the pedigree of these figures, or of all, and forget those of figures that are no more."""
    before = pedigree.load()
    new = {name: pedigree.record(FIGURES[name], before.get(name), equal) for name in names or FIGURES}
    pedigree.save({name: entry for name, entry in (before | new).items() if name in FIGURES})


def mark(names: Sequence[str], why: str) -> None:
    """Mark these figures, or all that are older than their code and not marked, as older."""
    entries = pedigree.load()
    chosen = names or [
        name for name, entry in entries.items() if not entry.older and pedigree.newer_files(FIGURES[name], entry)
    ]
    pedigree.save(entries | {name: replace(entries[name], older=why) for name in chosen})
    print(f"marked as older: {', '.join(chosen) or 'none'}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write, check, record or mark."""
    parser = argparse.ArgumentParser(prog="dnar2mae.benchmarks.figures", description=__doc__)
    parser.add_argument("action", nargs="?", default="write", choices=["write", "check", "record", "mark"])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--why", default="", help="what has changed since, in a few words; shown beside the figure")
    parser.add_argument("--equal", default="", help="record: a commit that computes the same numbers")
    options = parser.parse_args(arguments)
    try:
        if unknown := [name for name in options.names if name not in FIGURES]:
            raise ConfigError(f"no figure is named {', '.join(unknown)}; there are {', '.join(FIGURES)}")
        if options.action == "mark" and not options.why:
            raise ConfigError("mark needs --why: what has changed since, in a few words")
        if options.equal and not options.names:
            raise ConfigError("--equal needs the names of the figures whose numbers are the same")
        if options.action == "record":
            return record(options.names, options.equal)
        if options.action == "mark":
            return mark(options.names, options.why)
        if options.action == "write":
            write()
        faults = check()
    except Dnar2maeError as error:
        sys.exit(f"error: {error}")
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()

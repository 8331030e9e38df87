"""Sequences to audit, from FASTA files and tables; the table of an audit's rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dnar2mae.errors import ConfigError, SequenceError, needing, raising
from dnar2mae.homology.letters import upper
from dnar2mae.homology.search import IDENTITIES, Homologues
from dnar2mae.storage.compressed import READ_ERRORS, open_maybe_gzip, open_maybe_gzip_text, without_compression
from dnar2mae.storage.remote import file_name, local_path

if TYPE_CHECKING:
    import pandas as pd

_TABLES = (".csv", ".tsv", ".parquet")
_MOST_SHOWN = 8


def read_rows(path: str | Path, column: str = "sequence") -> tuple[list[str], "pd.DataFrame"]:
    """Read the sequences of a CSV, TSV or parquet file or, by any other name, a FASTA file, plain, gzip or zstd.

    Returns
    -------
    sequences, table
        In upper case, and the other columns as text; of FASTA the records' names.

    Raises
    ------
    SequenceError
        The file cannot be read, has no sequence or an empty one, or a letter is no nucleotide code.
    ConfigError
        A table lacks the column.
    """
    import pandas as pd

    name = without_compression(file_name(path)).lower()
    if name.endswith(_TABLES):
        table = read_table(path)
        sequences = column_of(table, column, path).str.strip().tolist()
        return upper(sequences, str(path)), table.drop(columns=column)
    with _readable(path), open_maybe_gzip_text(local_path(path)) as file:
        from Bio.SeqIO.FastaIO import SimpleFastaParser

        records = list(SimpleFastaParser(file))
    if not records:
        raise SequenceError(f"{path}: no FASTA record; tables end in {', '.join(_TABLES)}")
    sequences = [letters for _, letters in records]
    return upper(sequences, str(path)), pd.DataFrame({"name": [header for header, _ in records]})


def read_table(path: str | Path) -> "pd.DataFrame":
    """Read a CSV, TSV or parquet file, all of it as text.

    Raises
    ------
    SequenceError
        The file cannot be read.
    """
    import pandas as pd

    name = without_compression(file_name(path)).lower()
    with _readable(path), open_maybe_gzip(local_path(path)) as file:
        if name.endswith(".parquet"):
            with needing(f"{path}: reading parquet", "pyarrow", "dnar2mae[parquet]"):
                return pd.read_parquet(local_path(path)).astype(str)
        separator = "\t" if name.endswith(".tsv") else ","
        return pd.read_csv(file, sep=separator, dtype=str, keep_default_na=False)


def column_of(table: "pd.DataFrame", column: str, path: str | Path) -> "pd.Series":
    """Return a column.

    Raises
    ------
    ConfigError
        The table lacks it; the message names the columns that there are.
    """
    if column not in table.columns:
        shown = ", ".join(map(str, table.columns[:_MOST_SHOWN]))
        raise ConfigError(f"{path}: expected a column named {column}, got {shown}")
    return table[column]


def found_table(found: Homologues, identities: tuple[float, ...] = IDENTITIES) -> "pd.DataFrame":
    """Return a row a test row: identity, the training row that has it, chance, and whether it counts at each level."""
    import pandas as pd

    columns = {"identity": found.identity.round(4), "train_row": found.row, "chance": found.chance.round(4)}
    columns |= {"exact": found.exact.astype(int)}
    columns |= {f"homologue_{100 * level:g}": found.at(level).astype(int) for level in identities}
    return pd.DataFrame(columns).rename_axis("row")


@contextmanager
def _readable(path: str | Path) -> Iterator[None]:
    with raising(SequenceError, f"{path}: cannot be read", *READ_ERRORS, ValueError):
        yield

import itertools

import numpy as np
import pandas as pd
import pytest

from dnar2mae.benchmarks.rows.dna import DNA
from dnar2mae.benchmarks.tasks.data import TaskSplit, each_fold, find_duplicates, find_task, in_folds, load_task
from dnar2mae.benchmarks.tasks.sequences import canonical, clean, reverse_complement
from dnar2mae.benchmarks.tasks.suite import SuiteTask, load_suite
from dnar2mae.errors import ConfigError, SequenceError

from .conftest import motif_rows, write_rows

TASK = SuiteTask(name="t", classes=("no", "yes"))


def make(folder, **splits):
    for name, rows in splits.items():
        write_rows(folder / f"{name}.csv", rows)
    return folder


def test_sequences_are_cleaned_or_refused():
    assert clean(" acguN\n", "x") == "ACGTN"
    assert clean("ARYT", "x") == "ANNT"
    with pytest.raises(SequenceError, match="f.csv:3: the sequence is empty"):
        clean("  ", "f.csv:3")
    with pytest.raises(SequenceError, match="f.csv:3: the sequence is empty"):
        clean(None, "f.csv:3")
    with pytest.raises(SequenceError, match="expected nucleotide letters, got 'E' at position 2"):
        clean("AEC", "f.csv:3")
    assert reverse_complement("AACGN") == "NCGTT"
    assert canonical("TTT") == canonical("AAA") == "AAA"


def test_duplicates_are_exact_or_reverse():
    test = TaskSplit(rows=["AAC", "GTT", "AAC", "CCC"], labels=np.array([0, 1, 1, 0]))
    found = find_duplicates(test, TaskSplit(rows=["AAC", "GGT"], labels=np.array([0, 1])), DNA)
    assert found.exact.tolist() == [True, False, True, False]
    assert found.reverse.tolist() == [False, True, False, False]
    assert found.opposite.tolist() == [False, False, True, False]
    assert found.distinct == 1


def test_every_layout_gives_the_same_rows(tmp_path):
    rows = {"train": motif_rows(30, 0), "dev": motif_rows(10, 1), "test": motif_rows(10, 2)}
    expected = load_task(TASK, make(tmp_path / "csv", **rows))
    for split, of_split in rows.items():
        table = pd.DataFrame(of_split, columns=["sequence", "label"])
        other = "validation" if split == "dev" else split
        for layout in ("tsv", "parquet", "fasta", "hub"):
            (tmp_path / layout / "data").mkdir(parents=True, exist_ok=True)
        table.to_csv(tmp_path / "tsv" / f"{other}.tsv", sep="\t", index=False)
        table.to_parquet(tmp_path / "parquet" / f"{split}.parquet")
        renamed = table.rename(columns={"sequence": "seq"})
        renamed.iloc[:4].to_parquet(tmp_path / "hub" / "data" / f"{other}-00000-of-00002.parquet")
        renamed.iloc[4:].to_parquet(tmp_path / "hub" / "data" / f"{other}-00001-of-00002.parquet")
        records = [f">chr1:{i}|{label}\n{sequence}\n" for i, (sequence, label) in enumerate(of_split)]
        (tmp_path / "fasta" / f"{split}.fna").write_text("".join(records))
        for i, (sequence, label) in enumerate(of_split):
            path = tmp_path / "folders" / split / TASK.classes[label] / f"{i:03}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(sequence)
    for layout in ("tsv", "parquet", "fasta", "hub"):
        assert load_task(TASK, tmp_path / layout).digest == expected.digest, layout
    folders = load_task(TASK, tmp_path / "folders")
    assert sorted(zip(folders.test.rows, folders.test.labels, strict=True)) == sorted(rows["test"])


def test_labels_go_by_the_map_and_never_by_folder_order(tmp_path):
    task = SuiteTask(name="t", classes=("zebra", "ant"))
    for split in ("train", "dev", "test"):
        for name in ("ant", "zebra"):
            path = tmp_path / split / name / "1.txt"
            path.parent.mkdir(parents=True)
            path.write_text("ACGT" if name == "ant" else "GGGG")
    data = load_task(task, tmp_path)
    assert dict(zip(data.test.rows, data.test.labels, strict=True)) == {"ACGT": 1, "GGGG": 0}


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("seqs,label\nACGT,0\n", ConfigError, "test.csv: columns must be sequence and label, got seqs, label"),
        ("sequence\nACGT\n", ConfigError, "columns must be sequence and label, got sequence"),
        ("sequence,label\nACGT,0\nACGA,2\n", ConfigError, r"test.csv:3: label '2' is not in the task's map \(0, 1"),
        ("sequence,label\n,0\n", SequenceError, "test.csv:2: the sequence is empty"),
        ("sequence,label\nACGT,0\nAC-T,1\n", SequenceError, "test.csv:3: .*got '-' at position 3"),
        ("sequence,label\n", ConfigError, "no row in this split"),
        ("", ConfigError, "cannot be read as a table"),
    ],
)
def test_bad_tables_are_named(tmp_path, content, error, message):
    make(tmp_path, train=motif_rows(10, 0), dev=motif_rows(10, 1))
    (tmp_path / "test.csv").write_text(content)
    with pytest.raises(error, match=message):
        load_task(TASK, tmp_path)


def test_bad_fasta_and_folders(tmp_path):
    make(tmp_path, train=motif_rows(10, 0), dev=motif_rows(10, 1))
    (tmp_path / "test.fna").write_text(">chr1\nACGT\n")
    with pytest.raises(ConfigError, match=r"record 1: a header must end in \|label"):
        load_task(TASK, tmp_path)
    (tmp_path / "test.fna").unlink()
    (tmp_path / "test").mkdir()
    with pytest.raises(ConfigError, match="expected a folder of text files"):
        load_task(TASK, tmp_path)


def test_case_and_ambiguous_letters_are_read_and_noted(tmp_path):
    make(tmp_path, train=motif_rows(10, 0), dev=motif_rows(10, 1), test=[("acgT", 0), ("ACRT", 1)])
    data = load_task(TASK, tmp_path)
    assert data.test.rows == ["ACGT", "ACNT"]
    assert data.notes == ("test: 1 rows with lower case", "test: 1 rows with ambiguous letters")


def test_missing_splits(tmp_path):
    folder = make(tmp_path / "a", train=motif_rows(400, 0), test=motif_rows(10, 2))
    data = load_task(TASK, folder)
    assert 20 < len(data.dev) < 65
    assert len(data.train) + len(data.dev) == 400
    assert data.notes == ("dev: 10% of train, by a hash of the row",)
    partial = load_task(TASK, make(tmp_path / "b", dev=motif_rows(400, 0), test=motif_rows(10, 2)))
    assert partial.flags == ("no train split: learned from dev",)
    assert partial.dev.rows == data.dev.rows
    with pytest.raises(ConfigError, match="needs a test split and a train or dev split, got test"):
        load_task(TASK, make(tmp_path / "c", test=motif_rows(10, 2)))
    one_class = [row for row in motif_rows(40, 0) if row[1] == 0]
    with pytest.raises(ConfigError, match="no training row of class yes"):
        load_task(TASK, make(tmp_path / "d", train=one_class, dev=motif_rows(4, 1), test=motif_rows(4, 2)))
    with pytest.raises(ConfigError, match="no row is left for dev"):
        load_task(TASK, make(tmp_path / "e", train=motif_rows(3, 0), test=motif_rows(4, 2)), dev_share=1e-9)


def test_a_held_out_share_keeps_twins_together(tmp_path):
    rows = [row for row in motif_rows(300, 0) for _ in range(2)]
    rows += [(reverse_complement(sequence), label) for sequence, label in motif_rows(300, 0)]
    data = load_task(TASK, make(tmp_path, train=rows, test=motif_rows(10, 2)))
    assert not set(map(canonical, data.train.rows)) & set(map(canonical, data.dev.rows))


def test_other_sizes_are_flagged(tmp_path):
    task = SuiteTask(name="t", sizes={"train": 10, "dev": 5, "test": 99})
    data = load_task(task, make(tmp_path, train=motif_rows(10, 0), dev=motif_rows(4, 1), test=motif_rows(99, 2)))
    assert data.flags == ("dev: 4 rows, official 5",)


def test_every_row_is_tested_in_one_fold_and_groups_stay_together(tmp_path):
    sizes = {"train": 60, "dev": 20, "test": 25}
    rows = {split: motif_rows(count, seed) for seed, (split, count) in enumerate(sizes.items())}
    data = load_task(TASK, grouped(tmp_path, rows, 7))
    parts = in_folds(data, 5)
    assert sorted(np.concatenate([part.places[2] for part in each_fold(parts)]).tolist()) == list(range(105))
    assert [part.fold.tested for part in parts] == [fold for fold in range(5) for _ in range(4)]
    for fold in range(5):  # each of the others is dev once
        own = [part.places for part in parts if part.fold.tested == fold]
        tested, of_dev = (np.concatenate([places[split] for places in own]) for split in (2, 1))
        assert sorted({*tested.tolist(), *of_dev.tolist()}) == list(range(105))
        assert len(of_dev) + len(tested) // 4 == 105
    groups = np.array([*data.train.groups, *data.dev.groups, *data.test.groups])
    for part in parts:
        assert part.whole is data
        of_split = [set(groups[place]) for place in part.places]
        assert sum(map(len, of_split)) == len(set.union(*of_split))
        assert part.test.rows == [data.rows[row] for row in part.places[2]]
        assert set(part.train.labels) == {0, 1}
    assert [part.digest for part in in_folds(data, 5)] == [part.digest for part in parts]


def test_without_groups_a_sequence_and_its_reverse_complement_share_a_fold(tmp_path):
    rows = motif_rows(60, 0)
    twins = [(reverse_complement(sequence), label) for sequence, label in rows]
    data = load_task(TASK, make(tmp_path, train=rows, dev=twins[:40], test=[*twins[40:], *rows[:5]]))
    assert data.is_duplicate.all()
    for part in in_folds(data, 4):
        assert not part.is_duplicate.any()


def test_equal_sequences_of_different_groups_are_told(tmp_path):
    rows = {"train": motif_rows(40, 0), "dev": motif_rows(20, 1), "test": motif_rows(40, 0)}
    parts = in_folds(load_task(TASK, grouped(tmp_path, rows, 1)), 3)
    assert sum(part.is_duplicate.sum() for part in each_fold(parts)) > 20
    assert len(parts) == 6
    whole = load_task(TASK, make(tmp_path, train=motif_rows(40, 0), dev=motif_rows(20, 1), test=motif_rows(40, 0)))
    assert each_fold([whole]) == [whole]


@pytest.mark.parametrize(
    ("size", "splits", "number", "message"),
    [
        (30, ("train", "dev", "test"), 3, "--folds 3: class no is in 2 groups of rows only"),
        (5, ("train", "test"), 3, "--folds: 10 rows have no group, and 50 have one"),
    ],
)
def test_rows_that_folds_cannot_divide(tmp_path, size, splits, number, message):
    rows = {"train": motif_rows(40, 0), "dev": motif_rows(10, 1), "test": motif_rows(10, 2)}
    with pytest.raises(ConfigError, match=message):
        in_folds(load_task(TASK, grouped(tmp_path, rows, size, splits)), number)


def test_a_row_without_a_group(tmp_path):
    folder = make(tmp_path, train=motif_rows(10, 0), dev=motif_rows(10, 1), test=motif_rows(4, 2))
    (folder / "test.csv").write_text("sequence,label,group\nACGT,0,a\nACGA,1,\n")
    data = load_task(TASK, folder)  # which matters to folds alone
    with pytest.raises(ConfigError, match=r"--folds: 21 rows have no group, and 1 have one"):
        in_folds(data, 3)


def grouped(folder, rows, size, splits=("train", "dev", "test")):
    """Write splits whose rows have groups of so many rows in a row."""
    make(folder, **rows)
    number = itertools.count()
    for split in splits:
        table = pd.read_csv(folder / f"{split}.csv")
        table["group"] = [f"g{next(number) // size}" for _ in range(len(table))]
        table.to_csv(folder / f"{split}.csv", index=False)
    return folder


GUE_DUPLICATES = {"prom/prom_core_tata": ("train", 16, 16, 1), "prom/prom_300_tata": ("train", 6, 6, 0)}
GUE_DUPLICATES |= {"splice/reconstructed": ("dev", 32, 30, 0)}


@pytest.mark.parametrize("name", GUE_DUPLICATES)
def test_duplicates_of_the_published_files(data, name):
    suite = load_suite("gue").select((name,))
    folder = find_task(suite, suite.tasks[0], data / "gue")
    if folder is None:
        pytest.skip(f"no copy of {name} below {data}/gue")
    found = load_task(suite.tasks[0], folder)
    split, rows, distinct, opposite = GUE_DUPLICATES[name]
    duplicates = found.duplicates[split]
    assert (duplicates.exact.sum(), duplicates.distinct, duplicates.opposite.sum()) == (rows, distinct, opposite)
    assert np.count_nonzero(found.is_duplicate) >= rows
    assert bool(found.flags) == name.startswith("splice")

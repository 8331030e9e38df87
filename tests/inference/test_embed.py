import gzip

import numpy as np
import pandas as pd
import pytest
import torch

from dnar2mae.config import ModelConfig
from dnar2mae.errors import ConfigError, SequenceError
from dnar2mae.genome.store import Genome
from dnar2mae.inference import DnaEmbedOptions, Model, Written, embed
from dnar2mae.modalities.dna.embedding import SequenceEmbedder
from dnar2mae.modalities.dna.sequences import read_sequences
from tests.random_run import write_run

KMERS = [(1, 1), (3, 3), (3, 1)]
LAYOUT = ModelConfig(width=16, depth=3, heads=2, mlp_width=16, global_every=2, local_tokens=8)


def reverse_complement(text):
    return text[::-1].translate(str.maketrans("ACGTacgt", "TGCAtgca"))


@pytest.fixture(params=KMERS, ids=str)
def model(request, tmp_path):
    return Model.from_pretrained(write_run(tmp_path / "run", LAYOUT, *request.param), device="cpu")


@pytest.fixture
def single(tmp_path):
    return Model.from_pretrained(write_run(tmp_path / "single", LAYOUT), device="cpu")


@pytest.fixture
def texts():
    rng = np.random.default_rng(0)
    return ["".join(rng.choice(list("ACGTacgtN"), n)) for n in (64, 9, 40, 64, 23)]


def alone(model, text):
    """Mean over known tokens, one sequence at a time and unpadded."""
    ids = model.tokenizer.encode_text(text)
    states = model.module(torch.from_numpy(ids)[None])[0].detach().numpy()
    return states[ids >= 4].mean(0)


def test_mean_is_that_of_each_sequence_alone(model, texts):
    texts = [text.replace("N", "A") for text in texts[:2]] + texts[2:]
    expected = np.stack([alone(model, text) for text in texts])
    for batch_tokens in (1, 70, None):
        found = model.embed(texts, batch_tokens=batch_tokens)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=2e-6)
    np.testing.assert_allclose(model.embed(texts[::-1])[::-1], expected, atol=2e-6)


def test_pools_agree_with_the_states_of_each_token(model, texts):
    states = model.embed(texts, pool="none")
    real = [model.tokenizer.encode_text(text) >= 4 for text in texts]
    for pool, measure in (("mean", np.mean), ("max", np.max)):
        found = model.embed(texts, pool=pool)
        for row, own, known in zip(found, states, real, strict=True):
            if known.any():
                np.testing.assert_allclose(row, measure(own[known], axis=0), atol=2e-6)
            else:
                assert np.isnan(row).all()


def test_both_strands_see_one_molecule(model, texts):
    k, stride = model.tokenizer.k, model.tokenizer.stride
    whole = [text[: len(text) - (len(text) - k) % stride].replace("N", "C") for text in texts]
    flipped = [reverse_complement(text) for text in whole]
    for pool in ("mean", "max"):
        np.testing.assert_allclose(
            model.embed(whole, pool=pool, both_strands=True),
            model.embed(flipped, pool=pool, both_strands=True),
            atol=2e-6,
        )
    pairs = zip(
        model.embed(whole, pool="none", both_strands=True),
        model.embed(flipped, pool="none", both_strands=True),
        strict=True,
    )
    for own, other in pairs:
        np.testing.assert_allclose(own, other[::-1], atol=2e-6)
    one_strand = model.embed(whole)
    mean = (one_strand + model.embed(flipped)) / 2
    np.testing.assert_allclose(model.embed(whole, both_strands=True), mean, atol=2e-6)


def test_long_sequences_are_read_in_windows(single):
    text = "".join(np.random.default_rng(1).choice(list("ACGT"), 150))
    states = single.embed([text], pool="none")[0]
    expected = [single.embed([text[a:b]], pool="none")[0] for a, b in ((0, 64), (64, 128), (86, 150))]
    np.testing.assert_allclose(states, np.concatenate([*expected[:2], expected[2][42:]]), atol=2e-6)
    np.testing.assert_allclose(single.embed([text])[0], states.mean(0), atol=2e-6)
    np.testing.assert_allclose(single.embed([text], window_bp=150)[0], alone(single, text), atol=2e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_layers_are_those_of_the_published_implementation(single, texts, tmp_path):
    transformers = pytest.importorskip("transformers")
    from dnar2mae.hub import export

    folder = export(tmp_path / "single", tmp_path / "out")
    theirs = transformers.AutoModel.from_pretrained(folder)
    tokens = torch.from_numpy(single.tokenizer.encode_text(texts[0])).long()[None]
    with torch.no_grad():
        states = theirs(tokens, output_hidden_states=True)
    for layer, expected in enumerate(states.hidden_states[:3]):
        np.testing.assert_allclose(single.embed(texts[:1], pool="none", layer=layer)[0], expected[0].numpy(), atol=1e-5)
    final = single.embed(texts[:1], pool="none")[0]
    np.testing.assert_allclose(final, states.last_hidden_state[0].numpy(), atol=1e-5)
    assert np.array_equal(final, single.embed(texts[:1], pool="none", layer=3)[0])
    ragged = [single.embed(texts, pool="none", layer=layer)[4] for layer in (0, 2)]
    for layer, own in zip((0, 2), ragged, strict=True):
        np.testing.assert_allclose(own, single.embed(texts[4:], pool="none", layer=layer)[0], atol=2e-6)


def test_units_are_those_of_every_layer_side_by_side(model, texts):
    texts = [text.replace("N", "A") for text in texts]
    per_token = model.embed(texts, layer="units", pool="none")
    config = model.module.config
    assert {vectors.shape[1] for vectors in per_token} == {config.depth * config.mlp_width}
    both = model.embed(texts, layer="units", pool="mean-max")
    expected = np.stack([np.concatenate([vectors.mean(0), vectors.max(0)]) for vectors in per_token])
    np.testing.assert_allclose(both, expected, atol=2e-6)
    ids = torch.from_numpy(model.tokenizer.encode_text(texts[1]))[None]
    kept = []
    hook = model.module.encoder.layers[-1].mlp_out.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0]))
    with torch.inference_mode():
        model.module(ids)
    hook.remove()
    last = kept[0].reshape(len(per_token[1]), -1).numpy()
    np.testing.assert_allclose(per_token[1][:, -config.mlp_width :], last, atol=2e-6)


def test_bad_requests(single):
    with pytest.raises(SequenceError, match=r"sequence 2, position 3: expected a nucleotide letter, got '!'"):
        single.embed(["ACGT", "AC!T"])
    with pytest.raises(SequenceError, match=r"sequence 1: 0 bp is shorter than one token \(1 bp\)"):
        single.embed([""])
    with pytest.raises(ConfigError, match=r"--layer must be in -4..3, got 4"):
        single.embed(["ACGT"], layer=4)
    options = DnaEmbedOptions()
    object.__setattr__(options, "pool", "cls")  # the tests' own type checks would stop it before it is checked
    with pytest.raises(ConfigError, match="--pool must be mean, max, mean-max or none, got cls"):
        options.__post_init__()
    with pytest.raises(ConfigError, match="--window-bp must be at least 1, got 0"):
        single.embed(["ACGT"], window_bp=0)
    assert single.embed([]).shape == (0, 16)


def test_fasta_tiles_and_their_table(single, fasta, tmp_path):
    genome = Genome.open(fasta)
    written = embed(single.trained, fasta, tmp_path / "x.npy", options=DnaEmbedOptions(tile_bp=3000))
    vectors, table = np.load(tmp_path / "x.npy"), pd.read_csv(tmp_path / "x.tsv", sep="\t")
    assert vectors.shape == (written.rows, written.width) == (7 + 4, 16)
    assert table.groupby("name")["end"].max().tolist() == [20_000, 10_000]
    assert table["start"].tolist()[6:9] == [18_000, 0, 3000]
    own = genome.fetch("two", 3000, 6000)
    np.testing.assert_allclose(vectors[8], single.embed([own])[0], atol=2e-6)
    assert embed(single.trained, fasta, tmp_path / "whole.npy") == Written(2, 16, single.source)


@pytest.mark.parametrize("pool", ["mean", "max", "mean-max", "none"])
@pytest.mark.parametrize(("window_bp", "layer"), [(None, -1), (90, -1), (90, "units")])
def test_a_long_sequence_in_stretches_is_the_same(model, fasta, tmp_path, monkeypatch, pool, window_bp, layer):
    text = fasta.read_text().replace(">one\n", ">one\n" + "N" * 700)[:3000].replace(">two", "")
    (tmp_path / "n.fa").write_text(text + "\n")
    options = DnaEmbedOptions(pool=pool, both_strands=True, window_bp=window_bp, layer=layer)
    embed(model.trained, tmp_path / "n.fa", tmp_path / "whole.npy", options=options)
    sizes, original = [], SequenceEmbedder.embed

    def spy(self, codes):
        sizes.append(max(map(len, codes)))
        return original(self, codes)

    monkeypatch.setattr(SequenceEmbedder, "embed", spy)
    monkeypatch.setattr("dnar2mae.modalities.dna.embedding._BLOCK_TOKENS", 500)
    embed(model.trained, tmp_path / "n.fa", tmp_path / "parts.npy", options=options)
    assert len(sizes) > 1
    assert max(sizes) < 700 * model.tokenizer.stride + 100
    np.testing.assert_allclose(np.load(tmp_path / "parts.npy"), np.load(tmp_path / "whole.npy"), atol=3e-6)


def test_a_row_a_token_and_blocks(single, fasta, tmp_path, monkeypatch):
    monkeypatch.setattr("dnar2mae.modalities.dna.embedding._BLOCK_TOKENS", 5000)
    options = DnaEmbedOptions(pool="none", layer=1, tile_bp=900)
    assert embed(single.trained, fasta, tmp_path / "x.npy", options=options).rows == 30_000
    table = pd.read_csv(tmp_path / "x.tsv", sep="\t")
    row = table[(table["name"] == "two") & (table["start"] == 1800)].iloc[0]
    own = single.embed([Genome.open(fasta).fetch("two", 1800, 2700)], pool="none", layer=1)[0]
    found = np.load(tmp_path / "x.npy", mmap_mode="r")[row["first_row"] :][: row["num_rows"]]
    np.testing.assert_allclose(found, own, atol=2e-6)


def test_memory_does_not_grow_with_the_input(single, tmp_path, monkeypatch):
    held, original = [], SequenceEmbedder.embed

    def spy(self, codes):
        held.append(sum(map(len, codes)))
        return original(self, codes)

    monkeypatch.setattr(SequenceEmbedder, "embed", spy)
    monkeypatch.setattr("dnar2mae.modalities.dna.embedding._BLOCK_TOKENS", 4000)
    (tmp_path / "long.fa").write_text(">a\n" + "ACGTTGCATC" * 4000 + "\n")
    embed(single.trained, tmp_path / "long.fa", tmp_path / "x.npy", options=DnaEmbedOptions(tile_bp=1000))
    assert len(held) == 10
    assert max(held) <= 4000


def test_bed_regions_and_strands(single, fasta, tmp_path):
    bed = "# regions\nchrone\t10\t90\ta\t0\t-\none\t10\t90\n\ntrack x\ntwo\t5\t30\tb\t.\t+\n"
    (tmp_path / "r.bed.gz").write_bytes(gzip.compress(bed.encode()))
    pytest.importorskip("pyarrow")
    embed(single.trained, tmp_path / "r.bed.gz", tmp_path / "x.parquet", options=DnaEmbedOptions(genome=fasta))
    table = pd.read_parquet(tmp_path / "x.parquet")
    assert table["region"].tolist() == ["a", "", "b"]
    assert table["strand"].tolist() == ["-", "+", "+"]
    text = Genome.open(fasta).fetch("one", 10, 90)
    np.testing.assert_allclose(
        np.stack(table["embedding"])[:2], single.embed([reverse_complement(text), text]), atol=2e-6
    )


def test_columns_of_a_table_stay_as_they_were_written(single, tmp_path):
    (tmp_path / "t.csv").write_text("sequence,label,id,count\nACGT,NA,00123,1\nACGA,1.10,00124,2\n")
    embed(single.trained, tmp_path / "t.csv", tmp_path / "x.npy", options=DnaEmbedOptions())
    rows = [line.split("\t")[-3:] for line in (tmp_path / "x.tsv").read_text().splitlines()]
    assert rows == [["label", "id", "count"], ["NA", "00123", "1"], ["1.10", "00124", "2"]]


@pytest.mark.filterwarnings("ignore")
def test_tables_keep_their_columns(single, texts, tmp_path):
    pd.DataFrame({"sequence": texts, "label": [0, 1, 0, 1, 1], "name": list("abcde")}).to_csv(tmp_path / "t.csv")
    pytest.importorskip("anndata")
    import anndata

    embed(single.trained, tmp_path / "t.csv", tmp_path / "x.h5ad", options=DnaEmbedOptions(both_strands=True))
    found = anndata.read_h5ad(tmp_path / "x.h5ad")
    np.testing.assert_allclose(found.X, single.embed(texts, both_strands=True), atol=2e-6)
    assert found.obs["label"].tolist() == [0, 1, 0, 1, 1]
    assert found.obs["name"].tolist() == list("abcde")
    assert sorted(p.name for p in tmp_path.glob(".*partial*")) == []


BAD_BEDS = {
    "one\t5\n": r"r.bed:1: a BED line is name, start, end, got 'one\\t5'",
    "one\t1\t9\nthree\t1\t9\n": "r.bed:2: .*no sequence 'three'",
    "one\t9\t8\n": "r.bed:1: a region needs 0 <= start < end <= 20000",
    "# nothing\n": "no region in this BED file",
}


@pytest.mark.parametrize("content", BAD_BEDS)
def test_bad_beds(single, fasta, tmp_path, content):
    (tmp_path / "r.bed").write_text(content)
    with pytest.raises(SequenceError, match=BAD_BEDS[content]):
        embed(single.trained, tmp_path / "r.bed", tmp_path / "x.npy", options=DnaEmbedOptions(genome=fasta))


def test_bad_files(single, fasta, tmp_path):
    def refused(kind, match, path, out="x.npy", **settings):
        with pytest.raises(kind, match=match):
            embed(single.trained, tmp_path / path, tmp_path / out, options=DnaEmbedOptions(**settings))
        assert not (tmp_path / "x.npy").exists()

    (tmp_path / "t.csv").write_text("seq,label\nACGT,1\n")
    (tmp_path / "e.csv").write_text("sequence\n")
    (tmp_path / "l.tsv").write_text("sequence\tlabel\nACGT\t1\nAC-T\t1\n")
    (tmp_path / "s.csv").write_text("sequence,label\nACGT,1\n,0\n")
    (tmp_path / "r.bed").write_text("one\t1\t9\n")
    refused(SequenceError, "expected a column named sequence, got seq, label", "t.csv")
    refused(SequenceError, "no row in this table", "e.csv")
    refused(SequenceError, "row 2, position 3: expected a nucleotide letter, got '-'", "l.tsv")
    refused(SequenceError, r"sequence 2 \(0 bp\) is shorter than one token", "s.csv")
    refused(SequenceError, "cannot be read as a table", "none.csv")
    refused(SequenceError, "cannot be read as BED", "none.bed", genome=fasta)
    refused(ConfigError, "--genome must be given with a BED file and no other input, got None", "r.bed")
    refused(ConfigError, "--genome must be given with a BED file and no other input", "t.csv", genome=fasta)
    refused(ConfigError, "--tile-bp must be at least 1, and the input FASTA", "t.csv", tile_bp=5)
    refused(ConfigError, "--out must end in .npy, .parquet, .h5ad, got", "t.csv", out="x.txt")
    (tmp_path / "g.csv").write_text("sequence\nACGT\n")
    refused(ConfigError, "--out must end in .npy where a sample has several rows", "g.csv", "x.h5ad", pool="none")
    with pytest.raises(ConfigError, match="--out must be writable"):
        embed(single.trained, tmp_path / "g.csv", "/proc/nowhere/x.npy")


def test_missing_packages_are_named(single, fasta, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="needs the package pyarrow: pip install pyarrow"):
        embed(single.trained, fasta, tmp_path / "x.parquet")


def test_empty_sequences_of_a_genome_are_left_out(tmp_path):
    (tmp_path / "g.fa").write_text(">a\nACGTACGT\n>b\n>c\nACGT\n")
    with pytest.warns(UserWarning, match="empty"):
        found = read_sequences(tmp_path / "g.fa")
    assert found.table["name"].tolist() == ["a", "c"]


def test_a_string_is_one_sequence(single):
    found = single.embed("ACGTTGCA")
    assert found.shape == (1, 16)
    assert np.array_equal(found, single.embed(["ACGTTGCA"]))

"""Tokenizer files: roles, numbering, sizes, training, and what is refused."""

import json
import pickle

import numpy as np
import pytest

from dnar2mae.cli import main
from dnar2mae.cli.tokenizer import train as train_tokens
from dnar2mae.errors import ConfigError
from dnar2mae.modalities.dna.pieces import PieceTokenizer
from dnar2mae.tokenizers import ByteTokenizer, FileTokenizer
from dnar2mae.tokenizers.file import MAX_ID
from dnar2mae.tokenizers.train import TokenizerTraining

KINDS = ("bpe", "wordpiece", "unigram")
TEXT = "the model reads the masked text, and the text is née:\nread it again and again 漢字 🙂\n\n" * 20


def word_level(vocabulary, added=(), unk="<unk>"):
    tokens = [
        {"id": vocabulary[t], "content": t, "special": True, "single_word": False, "lstrip": False, "rstrip": False}
        | {"normalized": False}
        for t in added
    ]
    model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": unk}
    return json.dumps(
        {"version": "1.0", "added_tokens": tokens, "pre_tokenizer": {"type": "WhitespaceSplit"}, "model": model}
    )


@pytest.fixture
def train(tmp_path):
    def one(kind, text=TEXT, name="t.json", **settings):
        (tmp_path / "in.txt").write_text(text)
        out = tmp_path / name
        size = train_tokens(
            TokenizerTraining(
                paths=(str(tmp_path / "in.txt"),), out=out, kind=kind, **{"vocabulary_size": 300, **settings}
            )
        )
        return out, size

    return one


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_sum_to_the_bytes_and_ids_read_back(kind, train):
    tokenizer = FileTokenizer.open(train(kind)[0])
    assert tokenizer.added == ()
    assert tokenizer.tokens()[:5] == ["[PAD]", "[MASK]", "[UNK]", "[CLS]", "[SEP]"]
    texts = [TEXT[:80], "", " né ", "the 🙂 the", "the [MASK] text"]
    for text, found in zip(texts, tokenizer.encode(texts), strict=True):
        assert found.sizes.sum() == len(text.encode()) or not len(found.ids)
        assert len(found.ids) == len(found.sizes)
    assert 1 in tokenizer.encode(["the [MASK] text"])[0].ids
    if kind == "bpe":
        assert tokenizer.decode(tokenizer.encode([TEXT])[0].ids) == TEXT
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.fingerprint == tokenizer.fingerprint
    assert again.vocabulary == tokenizer.vocabulary


@pytest.mark.parametrize("kind", KINDS)
def test_training_gives_the_same_file_again(kind, train):
    first, second = (train(kind, name=name)[0].read_text() for name in ("a.json", "b.json"))
    assert first == second


def test_word_pieces_are_those_that_the_package_trains(train):
    """Of another order, as ties are decided otherwise: so many of the pieces must be the same."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    peer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    peer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words = " ".join(f"{a}{b}{c}" for a in ("mask", "read", "walk") for b in ("", "ed", "ing") for c in ("", "ly") * 3)
    peer.train_from_iterator([words], trainers.WordPieceTrainer(vocab_size=60, special_tokens=["[UNK]"]))
    ours = FileTokenizer.open(train("wordpiece", words, vocabulary_size=64)[0])
    real = set(ours.tokens()[ours.vocabulary.first_real :])
    theirs = set(peer.get_vocab()) - {"[UNK]"}
    assert len(real & theirs) > 0.8 * len(theirs)
    assert ours.decode(ours.encode(["masked walkingly"])[0].ids) == "masked walkingly"


def test_specials_come_first_and_gaps_are_closed():
    vocabulary = {"a": 0, "<mask>": 1, "b": 2, "<cls>": 3, "<pad>": 4, "c": 7, "<unk>": 9}
    tokenizer = FileTokenizer(word_level(vocabulary, added=("<mask>", "<cls>", "<pad>", "<unk>")))
    assert tokenizer.tokens()[:7] == ["<pad>", "<mask>", "<unk>", "<cls>", "a", "b", "c"]
    v = tokenizer.vocabulary
    assert (v.size, v.pad_id, v.mask_id, v.unk_id, v.first_real, v.num_real) == (8, 0, 1, 2, 4, 3)
    found = tokenizer.encode(["c  a x b<mask> "])[0]
    assert found.ids.tolist() == [6, 4, 2, 5, 1]
    assert found.sizes.tolist() == [1, 3, 2, 2, 7]


def test_a_missing_mask_is_added_with_a_warning(tmp_path):
    with pytest.warns(UserWarning, match="t.json: the tokenizer has no \\[MASK\\] token; one is added"):
        tokenizer = FileTokenizer(word_level({"a": 0, "b": 1, "<unk>": 2}), "t.json")
    assert tokenizer.added == ("[PAD]", "[MASK]")
    assert tokenizer.tokens()[:5] == ["[PAD]", "[MASK]", "<unk>", "a", "b"]
    tokenizer.save(tmp_path)
    again = FileTokenizer.open(tmp_path / "tokenizer.json")  # without a warning now
    assert again.fingerprint == tokenizer.fingerprint
    assert again.tokens() == tokenizer.tokens()


REFUSED = {
    "hello": "x.json: not a tokenizer.json of the tokenizers package: ",
    '{"a": 1}': "x.json: not a tokenizer.json of the tokenizers package: ",
    word_level(
        {"a": 0, "[MASK]": 1, "[PAD]": 2, "<unk>": MAX_ID + 1}
    ): f"ids must be at most {MAX_ID}, got {MAX_ID + 1}",
    word_level({"[PAD]": 0, "[MASK]": 1, "<unk>": 2}): "must have a token that is not special, got none among 3",
    word_level({"a": 0, "[MASK]": 1, "[PAD]": 3}, unk="x"): "must run from 0 without gaps",
}


@pytest.mark.parametrize("content", REFUSED)
def test_what_is_refused(content, tmp_path):
    with pytest.raises(ConfigError) as caught:
        FileTokenizer(content, "x.json")
    assert REFUSED[content] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match="cannot read the tokenizer: No such file"):
        FileTokenizer.open(tmp_path / "gone.json")
    (tmp_path / "b.json").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="codec can't decode byte 0xff in position 0"):
        FileTokenizer.open(tmp_path / "b.json")


def test_bytes():
    tokenizer = ByteTokenizer()
    assert tokenizer.encode(["né", ""])[0].ids.tolist() == [114, 199, 173]
    assert tokenizer.decode(np.array([1, 114, 199, 173, 0, 259])) == "né\ufffd"
    assert (tokenizer.vocabulary.first_real, tokenizer.vocabulary.num_real) == (4, 256)


class TestDna:
    @pytest.fixture(params=KINDS)
    def tokenizer(self, request, tmp_path):
        bases = "".join(np.random.default_rng(1).choice(list("ACGT"), 6000, p=[0.4, 0.1, 0.1, 0.4]))
        (tmp_path / "g.fa").write_text(f">a\n{bases[:3000]}NNNNNNN{bases[3000:].lower()}\n")
        out = tmp_path / "t.json"
        settings = {"modality": "dna", "vocabulary_size": 40, "kind": request.param}
        train_tokens(TokenizerTraining(paths=(str(tmp_path / "g.fa"),), out=out, **settings))
        return PieceTokenizer(FileTokenizer.open(out, "ACGT"), 64)

    def test_tokens_tile_the_window_and_none_holds_an_n(self, tokenizer):
        rng = np.random.default_rng(2)
        codes = rng.choice(5, (50, 64), p=[0.3, 0.2, 0.2, 0.25, 0.05]).astype(np.uint8)
        codes[0], codes[1] = 4, np.arange(64) % 4
        names = tokenizer.file.tokens()
        for row, found in zip(codes, tokenizer.encode(codes), strict=True):
            assert found.sizes.sum() == 64
            ends = np.cumsum(found.sizes)
            for i, end, size in zip(found.ids, ends, found.sizes, strict=True):
                bases = "".join("ACGTN"[c] for c in row[end - size : end])
                if i >= tokenizer.vocabulary.first_real:
                    assert names[i].removeprefix("##") == bases
                else:
                    assert set(bases) == {"N"}

    def test_rows(self, tokenizer):
        codes = np.random.default_rng(3).integers(0, 4, (40, 64), dtype=np.uint8)
        codes[:, 32:] |= 8
        codes[0, :8] = 4
        batch = tokenizer.batch(codes, np.arange(40), 0.25)
        real = batch.documents >= 0
        assert (batch.tokens[~real] == tokenizer.vocabulary.pad_id).all()
        assert torch_equal(real & ~batch.maskable, real & (batch.tokens == tokenizer.vocabulary.unk_id))
        assert not batch.maskable[0, 0]
        full = real.sum(1) < tokenizer.num_tokens
        assert (batch.units.sum(1)[full] == 64).all()
        assert (batch.units.sum(1) <= 64).all()
        ends = batch.units.cumsum(1)
        assert torch_equal(batch.weight == 0.25, real & (ends > 32))


def torch_equal(a, b):
    return bool((a == b).all())


def test_a_tokenizer_that_is_not_of_dna(train):
    with pytest.raises(ConfigError, match="must have a token made of A, C, G, T, got none"):
        FileTokenizer.open(train("wordpiece", "hello world")[0], "ACGT")
    with pytest.raises(ConfigError, match="not a tokenizer of DNA: of random bases 0% become"):
        PieceTokenizer(FileTokenizer.open(train("wordpiece", "AC hello world", overwrite=True)[0], "ACGT"), 64)


class TestCommand:
    def test_train(self, tmp_path, capsys):
        (tmp_path / "in.txt").write_text(TEXT)
        argv = ["tokenizer", "train", str(tmp_path / "in.txt"), "--out", str(tmp_path / "t.json")]
        assert main([*argv, "--vocabulary-size", "1000"]) == 0
        printed = capsys.readouterr().out
        assert "tokens (of 1,000 asked for: the input has no more to merge)" in printed
        assert main(argv) == 2
        assert "t.json exists; give --overwrite" in capsys.readouterr().err
        (tmp_path / "in.txt").write_text("\n \n")
        assert main([*argv, "--overwrite"]) == 2
        assert "in.txt: the input is empty: there is nothing to learn from" in capsys.readouterr().err
        assert main(["tokenizer"]) == 2

    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            (["--vocabulary-size", "200"], "--vocabulary-size must be at least 261"),
            (["--vocabulary-size", "10", "--kind", "wordpiece"], "(specials and the input's alphabet), got 10"),
            (
                ["--vocabulary-size", "10", "--kind", "unigram"],
                "--vocabulary-size 10 can be trained: The vocabulary is not large enough to contain all chars",
            ),
            (["--max-letters", "0"], "--max-letters must be at least 1"),
            (["--out", "no/such/folder/t.json"], "cannot be written: No such file"),
        ],
    )
    def test_refusals(self, flags, message, tmp_path, capsys):
        (tmp_path / "in.txt").write_text(TEXT)
        argv = ["tokenizer", "train", str(tmp_path / "in.txt"), "--out", str(tmp_path / "t.json"), *flags]
        assert main(argv) == 2
        assert message in capsys.readouterr().err


def test_nucleotides_are_decoded_without_spaces(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokens = ["[UNK]", "[PAD]", "[MASK]", "ACG", "##TT", "GA", "##A"]
    tokenizer = Tokenizer(models.WordPiece({t: i for i, t in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    own = FileTokenizer(tokenizer.to_str(), letters="ACGT")
    (encoded,) = own.encode(["ACGTT GAA"])
    assert own.decode(encoded.ids) == "ACGTTGAA"
    assert own.decode(np.append(encoded.ids, own.vocabulary.mask_id)) == "ACGTTGAA"

"""Text: what documents are, rows that do not mix them, the yardstick, and bad input in one line."""

import gzip
import json
import pickle
import sys
from collections import Counter
from dataclasses import replace
from math import log2

import numpy as np
import pytest
import torch

from dnar2mae import ModelConfig, PretrainConfig, pretrain
from dnar2mae.batch import Batch
from dnar2mae.cli import main
from dnar2mae.errors import ConfigError, DataError
from dnar2mae.inference import load
from dnar2mae.masking import Masker
from dnar2mae.modalities.registry import build_modality, preset_for
from dnar2mae.modalities.text.config import TextConfig
from dnar2mae.modalities.text.corpus import Corpus
from dnar2mae.modalities.text.readers import documents, texts
from dnar2mae.modalities.text.stream import TokenStream, divide
from dnar2mae.modalities.text.yardstick import markov_bits
from dnar2mae.tokenizers import ByteTokenizer
from dnar2mae.training.build import build_model
from tests.modalities.kinds import text_bpe

BYTES = ByteTokenizer()


def modality(path, **settings):
    data = TextConfig(paths=(str(path),), **{"split": "line", "window_tokens": 8, **settings})
    model = ModelConfig(width=16, depth=2, heads=1, mlp_width=16, global_every=2, local_tokens=4, decoder_width=16)
    return build_modality(replace(preset_for("text", PretrainConfig(seed=3)), data=data, model=model))


def corpus(path, **settings):
    return Corpus.open(path, TextConfig(**{"split": "line", **settings}), BYTES)


def lines(path, *texts):
    path.write_text("\n".join(texts) + "\n")
    return path


def decoded(tokens):
    return BYTES.decode(np.asarray(tokens))


class TestReading:
    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            ({}, [" = A = ", "one\ntwo", " = B = ", "three"]),
            ({"split": "line"}, ["", " = A = ", "", "one", "two", " ", " = B = ", "", "three"]),
            ({"split": "file"}, ["\n = A = \n\none\ntwo\n \n = B = \n\nthree\n"]),
            ({"start": "^ = "}, ["", " = A = \n\none\ntwo\n ", " = B = \n\nthree"]),
        ],
    )
    def test_documents_of_a_plain_file(self, tmp_path, settings, expected):
        path = tmp_path / "a.txt"
        path.write_text("\n = A = \n\none\ntwo\n \n = B = \n\nthree\n")
        assert list(documents(path, TextConfig(**settings))) == expected

    def test_folders_compression_and_json_lines(self, tmp_path):
        (tmp_path / "b").mkdir()
        (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"\xef\xbb\xbffirst\r\n"))
        (tmp_path / "b" / "c.jsonl").write_text('{"body": "x\\ny"}\n\n{"body": "z"}\n')
        (tmp_path / "ignored.png").write_bytes(b"\xff")
        opened = corpus(tmp_path, field="body")
        assert decoded(opened.tokens) == "firstx\nyz"
        assert opened.starts.tolist() == [0, 5, 8, 9]

    def test_a_data_set_on_disk(self, tmp_path, monkeypatch):
        pa = pytest.importorskip("pyarrow")
        for number, content in enumerate((["one", None], ["two"])):
            table = pa.table({"text": content})
            with (
                pa.OSFile(str(tmp_path / f"{number}.arrow"), "wb") as file,
                pa.ipc.new_stream(file, table.schema) as to,
            ):
                to.write_table(table)
        (tmp_path / "dataset_info.json").write_text("{}")
        state = {"_data_files": [{"filename": "1.arrow"}, {"filename": "0.arrow"}]}
        (tmp_path / "state.json").write_text(json.dumps(state))
        opened = corpus(tmp_path)
        assert decoded(opened.tokens) == "twoone"
        assert opened.index.empty == 1
        (tmp_path / "d" / "train").mkdir(parents=True)
        (tmp_path / "d" / "dataset_dict.json").write_text('{"splits": ["train"]}')
        (tmp_path / "d" / "train" / "dataset_info.json").write_text("{}")
        with pytest.raises(DataError, match=r"in splits; name those to read: .*/d/train"):
            corpus(tmp_path / "d")
        with pytest.raises(DataError, match="a data set on disk must have a state.json"):
            corpus(tmp_path / "d" / "train")
        with pytest.raises(DataError, match="must have body, got text"):
            corpus(tmp_path, field="body")
        (tmp_path / "0.arrow").write_bytes(b"no arrow")
        with pytest.raises(DataError, match="0.arrow: cannot be read as an Arrow stream"):
            corpus(tmp_path)
        (tmp_path / "state.json").write_text(json.dumps(state | {"_indices_files": ["i"]}))
        with pytest.raises(DataError, match="a selection by index; save it anew"):
            corpus(tmp_path)
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(ConfigError, match="needs the package pyarrow: pip install 'dnar2mae\\[parquet\\]'"):
            next(documents(tmp_path / "0.arrow", TextConfig()))

    def test_read_once_until_a_file_changes(self, tmp_path):
        path = lines(tmp_path / "a.txt", "one", "", "two")
        first = corpus(path)
        assert (len(first), first.index.empty) == (2, 1)
        assert (corpus(path).folder / "tokens.bin").stat().st_ino == (first.folder / "tokens.bin").stat().st_ino
        again = pickle.loads(pickle.dumps(first))
        assert again.tokens.tolist() == first.tokens.tolist()
        lines(path, "one", "three")
        assert decoded(corpus(path).tokens) == "onethree"
        with pytest.raises(DataError, match="removed or rebuilt during the run"):
            pickle.loads(pickle.dumps(first))
        (first.folder / "tokens.bin").write_bytes(b"")
        with pytest.warns(UserWarning, match="damaged cache .tokens.bin is not what was written"):
            assert decoded(corpus(path).tokens) == "onethree"

    def test_texts_to_embed_keep_their_order_and_number(self, tmp_path):
        (tmp_path / "a.csv").write_text('id,text\n1,"b, c"\n2,\n3,a\n')
        assert texts(tmp_path / "a.csv", "text") == ["b, c", "", "a"]
        assert texts(lines(tmp_path / "a.txt", "x", "", "y"), "text") == ["x", "", "y"]
        kind = modality(tmp_path / "gone.txt")
        with pytest.warns(UserWarning, match="1 of 2 texts are longer than --data.window-tokens"):
            rows = kind.read(lines(tmp_path / "b.txt", "0123456789", "é"))
        batch = rows.batch(np.arange(2))
        assert batch.documents.tolist() == [[0] * 8, [0, 0] + [-1] * 6]
        assert decoded(batch.tokens[1]) == "é"
        with pytest.raises(DataError, match="must have a column body, got id, text"):
            texts(tmp_path / "a.csv", "body")


class TestSplit:
    def test_no_document_is_on_both_sides(self, tmp_path):
        path = lines(tmp_path / "a.txt", *(f"document {i} " + "x" * (i % 7) for i in range(200)), "document 0 ")
        parts = divide([corpus(path)], [], TextConfig(validation_share=0.2, validation_blocks=4))
        sides = [{decoded(part.read(*place).tokens) for place in each(part)} for part in parts[:2]]
        assert not sides[0] & sides[1]
        assert len(sides[0] | sides[1]) == 200
        assert 0.15 < parts.held_out.num_tokens / corpus(path).index.num_tokens < 0.25
        assert parts.duplicates == 1  # the last line, of the last stretch, is also the first

    def test_files_to_hold_out(self, tmp_path):
        a, b = lines(tmp_path / "a.txt", "one", "two"), lines(tmp_path / "b.txt", "two", "three")
        parts = divide([corpus(a)], [corpus(b)], TextConfig())
        assert [decoded(part.read(0, part.num_tokens).tokens) for part in parts[:2]] == ["onetwo", "three"]
        with pytest.raises(DataError, match="no document is left to hold out: .* 2 of those"):
            divide([corpus(a)], [corpus(a)], TextConfig())


def each(stream):
    ends = np.cumsum(stream.lengths())
    return [(int(end - length), int(length)) for end, length in zip(ends, stream.lengths(), strict=True)]


class TestRows:
    def test_a_stream_reads_as_its_documents_joined(self, tmp_path):
        contents = [["aa", "bbb", "c"], ["dddd", "ee", "f", "gg"]]
        corpora = [corpus(lines(tmp_path / f"{i}.txt", *content)) for i, content in enumerate(contents)]
        stream = TokenStream(corpora, [np.array([True, False, True]), np.array([True, True, False, True])])
        kept, number = "aacddddeegg", [0, 0, 1, 2, 2, 2, 2, 3, 3, 4, 4]
        assert (stream.num_documents, stream.num_tokens) == (5, 11)
        for start in range(11):
            for end in range(start + 1, 12):
                piece = stream.read(start, end - start)
                assert decoded(piece.tokens) == kept[start:end]
                assert piece.documents.tolist() == number[start:end]
            first, last = stream.document_at(start)
            assert (first, last) == (number.index(number[start]), 11 - number[::-1].index(number[start]))

    @pytest.mark.parametrize("pack", [True, False])
    def test_held_out_rows_show_each_token_once(self, tmp_path, pack):
        path = lines(tmp_path / "a.txt", *(f"{i:02}" * (1 + i % 9) for i in range(90)))
        kind = modality(path, pack=pack, validation_share=0.5)
        batch = kind.validation.batch(np.arange(len(kind.validation)))
        shown = decoded(batch.tokens[batch.maskable])
        held_out = kind._parts.held_out
        assert shown == decoded(held_out.read(0, held_out.num_tokens).tokens)
        assert batch.units.sum() == held_out.num_tokens
        assert torch.equal(batch.documents >= 0, batch.maskable)
        if not pack:
            assert batch.documents.max() == 0

    @pytest.mark.parametrize("pack", [True, False])
    def test_rows_are_drawn_evenly_over_the_training_tokens(self, tmp_path, pack):
        path = lines(tmp_path / "a.txt", *(f"{i % 10}" * (5 + i % 20) for i in range(100)))
        kind = modality(path, pack=pack)
        batch = kind.train.batch(np.arange(4000))
        assert pack == bool((batch.documents >= 0).all())
        shown = Counter(decoded(batch.tokens[batch.maskable]))
        stream = kind._parts.training
        wanted = Counter(decoded(stream.read(0, stream.num_tokens).tokens))
        if pack:
            for digit in "0123456789":
                assert abs(shown[digit] / shown.total() - wanted[digit] / wanted.total()) < 0.02
        assert set(shown) == set(wanted)

    @pytest.mark.parametrize("objective", ["mlm", "mae"])
    def test_documents_of_a_row_do_not_see_each_other(self, tmp_path, objective):
        path = lines(tmp_path / "a.txt", *(f"line {i}" for i in range(50)))
        kind = modality(path)
        kind.config = replace(kind.config, model=replace(kind.config.model, objective=objective))
        model = build_model(kind.config, kind)
        one = row("abcdefgh", [0, 0, 0, 1, 1, 1, 1, -1])
        other = row("xyzdefgh", [0, 0, 0, 1, 1, 1, 1, -1])
        plan = (
            Masker(replace(kind.config.mask, replace=(1.0, 0.0, 0.0)), kind.vocabulary, 0, 1).plan(0).at_ratio(0.4, 1)
        )
        for encode in (model.encode, lambda batch: model.decoded(plan, batch, torch.arange(8))[0][None]):
            a, b = encode(one), encode(other)
            torch.testing.assert_close(a[0, 3:7], b[0, 3:7])
            assert not torch.allclose(a[0, :3], b[0, :3])


def row(text, documents):
    documents = torch.tensor([documents], dtype=torch.int32)
    tokens = torch.from_numpy(BYTES.encode([text])[0].ids)[None]
    return Batch(tokens, documents >= 0, torch.ones(1, 8), torch.zeros(1, dtype=torch.int64), documents=documents)


def test_markov_models_are_those_of_plain_counting(tmp_path):
    rng = np.random.default_rng(0)
    path = lines(tmp_path / "a.txt", *("".join(rng.choice(list("ab"), 9, p=[0.8, 0.2])) for _ in range(60)))
    opened = corpus(path)
    keep = np.arange(60) < 40
    training, held_out = TokenStream([opened], [keep]), TokenStream([opened], [~keep])
    content = path.read_text().split()
    count = {m: Counter(t[i - m : i + 1] for t in content[:40] for i in range(m, 9)) for m in range(4)}

    def chance(context, letter):
        if not context:
            return (count[0][letter] + 0.5) / (360 + 128)
        after = {x: n for x, n in count[len(context)].items() if x[:-1] == context}
        n, kinds = sum(after.values()), len(after)
        return (
            (after.get(context + letter, 0) + kinds * chance(context[1:], letter)) / (n + kinds)
            if n
            else chance(context[1:], letter)
        )

    expected = [
        -np.mean([log2(chance(t[max(i - m, 0) : i], t[i])) for t in content[40:] for i in range(9)]) for m in range(4)
    ]
    np.testing.assert_allclose(markov_bits(training, held_out, BYTES.vocabulary), expected, rtol=1e-12)


def test_a_trained_run_needs_neither_its_text_nor_its_tokenizer_file(tmp_path):
    config = text_bpe(tmp_path)
    with (tmp_path / "words.txt").open("a") as file:
        file.write("\n \nthe end\n")
    result = pretrain(replace(config, steps=2), tmp_path / "run")
    assert result.data["text"][config.data.paths[0]]["empty_documents_left_out"] == 2
    assert result.unit == "bits per byte"
    assert result.yardstick["token unigram"] > result.yardstick["token Markov order 1"] > 0
    (tmp_path / "words.txt").unlink()
    (tmp_path / "bpe.json").unlink()
    trained = load(tmp_path / "run", device="cpu")
    vectors = trained.embed(trained.modality.read(lines(tmp_path / "b.csv", "text", "the model", '""', "a")))
    assert vectors.shape == (3, 32)
    assert np.isfinite(vectors).all(1).tolist() == [True, False, True]


BAD = {
    "empty.txt": (b"", "empty.txt: no document is left: the file is empty"),
    "blank.txt": (b"\n \n\t\n", "blank.txt: no document is left: 3 read, all without a token"),
    "latin.txt": (b"one\ncaf\xe9\n", "latin.txt: text must be UTF-8, got byte 0xe9 at 7"),
    "not.jsonl": (b'{"text": "a"}\nhello\n', "not.jsonl:2: expected a JSON object, got 'hello'"),
    "other.jsonl": (
        b'{"body": "a"}\n',
        "other.jsonl:1: expected a JSON object with a text named text, got the keys body",
    ),
    "list.jsonl": (b"[1]\n", "list.jsonl:1: expected a JSON object with a text named text, got list"),
    "cut.txt.gz": (gzip.compress(b"some text" * 99)[:-9], "cut.txt.gz: cannot be read"),
    "short.txt": (b"ab\ncd\n", "--data.window-tokens must be at most the 2 tokens of the training documents, got 8"),
    "one.txt": (b"just one document\n", "no document is left to train on: there are 1, all held out"),
    "same.txt": (b"same document\n" * 9, "no document is left to hold out"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_named_in_one_line(name, tmp_path, capsys):
    content, message = BAD[name]
    (tmp_path / name).write_bytes(content)
    out = tmp_path / "run"
    flags = ["--data.split", "line", "--data.window-tokens", "8", "--device", "cpu", "--out", str(out)]
    assert main(["pretrain", "--modality", "text", str(tmp_path / name), *flags]) == 2
    printed = capsys.readouterr().err.strip()
    assert message in printed
    assert printed.startswith("dnar2mae: ")
    assert "\n" not in printed
    assert not out.exists()


def test_what_else_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        modality(tmp_path / "gone.txt").open()
    with pytest.raises(DataError, match="the folder holds no .txt"):
        modality(tmp_path).open()
    with pytest.raises(ConfigError, match="no text given"):
        build_modality(preset_for("text", PretrainConfig())).open()
    with pytest.raises(ConfigError, match="--data.start must be a regular expression, got \\("):
        TextConfig(start="(")
    config = preset_for("text", PretrainConfig())
    with pytest.raises(ConfigError, match="are for DNA"):
        build_modality(replace(config, tokenizer=replace(config.tokenizer, k=3)))
    path = lines(tmp_path / "a.txt", "one", "two", "three")
    (tmp_path / "file").write_text("")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DNAR2MAE_CACHE", str(tmp_path / "file"))
        with pytest.raises(DataError, match="cannot write .* set DNAR2MAE_CACHE"):
            corpus(path)

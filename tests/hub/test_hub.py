import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from dnar2mae.config import DataConfig, ModelConfig, PretrainConfig, TokenizerConfig
from dnar2mae.errors import ConfigError, RunError
from dnar2mae.hub import compare, export
from dnar2mae.inference import Model
from dnar2mae.models.modernbert import from_config, to_config
from dnar2mae.presets import PRESETS
from dnar2mae.tokenizers import KmerTokenizer
from dnar2mae.tokenizers.kmer_json import read_tokenizer, to_tokenizers, write_tokenizer
from dnar2mae.training.pretrain import pretrain
from tests.random_run import write_run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
STRIDES = [(1, 1), (3, 3), (6, 6), (2, 1), (3, 1), (3, 2), (6, 4)]
LAYOUTS = {name: replace(preset().model, backbone="transformer") for name, preset in PRESETS.items()}


def shrunk(layout):
    """The preset's layout at a tiny size: its proportion of local and global layers and its rotary bases."""
    return replace(layout, width=32, heads=2, mlp_width=48, depth=min(layout.depth, 4), local_tokens=16)


def sequences(rng, lengths, letters="ACGT"):
    return ["".join(rng.choice(list(letters), n)) for n in lengths]


@pytest.mark.parametrize("kmer", STRIDES, ids=str)
def test_tokenizer_json_gives_our_ids(kmer, tmp_path):
    tokenizer = KmerTokenizer(*kmer)
    theirs = to_tokenizers(tokenizer)
    rng = np.random.default_rng(0)
    for letters in ("ACGT", "ACGTacgtUuNnRy"):
        for sequence in sequences(rng, rng.integers(tokenizer.k, 60, 40), letters):
            assert theirs.encode(sequence).ids == tokenizer.encode_text(sequence).tolist(), sequence
    write_tokenizer(tokenizer, tmp_path, 100)
    found = read_tokenizer(tmp_path)
    assert (found.k, found.stride) == (tokenizer.k, tokenizer.stride)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("preset", LAYOUTS)
def test_logits_equal_those_of_the_published_implementation(preset, k, tmp_path):
    transformers = pytest.importorskip("transformers")
    run = write_run(tmp_path / "run", shrunk(LAYOUTS[preset]), k)
    ours, folder = Model.from_pretrained(run, device="cpu"), export(run, tmp_path / "out")
    theirs, loading = transformers.AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert type(theirs).__module__.startswith("transformers.models.modernbert")
    assert not any(loading.values()), loading
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = sequences(np.random.default_rng(0), [180, 93, 31], "ACGTN" if k == 1 else "ACGT")
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    assert set(batch) == {"input_ids", "attention_mask"}
    for row, text in zip(batch["input_ids"], texts, strict=True):
        ids = ours.tokenizer.encode_text(text).tolist()
        assert row.tolist() == ids + [tokenizer.pad_token_id] * (len(row) - len(ids))
    valid = batch["attention_mask"].bool()
    mine = ours.module.logits(ours.module(batch["input_ids"], valid))[valid]
    reference = theirs(**batch).logits.detach()[valid]
    real = slice(4, 4 + 4**k)
    torch.testing.assert_close(mine[:, real], reference[:, real], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mine.softmax(-1), reference.softmax(-1), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("preset", LAYOUTS)
def test_logits_at_the_full_size_of_a_preset(preset, fasta, tmp_path):
    pytest.importorskip("transformers")
    run = write_run(tmp_path / "run", LAYOUTS[preset], noise=0.02)  # weights as large as a trained model's
    found = compare(run, export(run, tmp_path / "out"), fasta)
    assert found.largest < 1e-5 < found.scale


def test_real_sequence_and_fill_mask(data, tmp_path):
    transformers = pytest.importorskip("transformers")
    run = write_run(tmp_path / "run", shrunk(LAYOUTS["base"]))
    folder = export(run, tmp_path / "out")
    text = "".join((data / "genomes" / "NC_001422_1.fna").read_text().splitlines()[1:])[:600]
    ours = Model.from_pretrained(run, device="cpu")
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(folder)
    tokens = torch.from_numpy(ours.tokenizer.encode_text(text))[None].long()
    real = slice(4, 8)
    torch.testing.assert_close(
        ours.module.logits(ours.module(tokens))[..., real], theirs(tokens).logits[..., real], atol=1e-5, rtol=1e-5
    )
    fill = transformers.pipeline("fill-mask", str(folder))
    answers = fill(f"{text[:20]}[MASK]{text[21:60].lower()}")
    assert {a["token_str"] for a in answers[:4]} == set("ACGT")
    shown = tokens[:, :60].clone()
    shown[0, 20] = ours.tokenizer.vocabulary.mask_id
    expected = ours.module.logits(ours.module(shown))[0, 20].softmax(-1)
    for answer in answers[:4]:
        assert answer["score"] == pytest.approx(expected[answer["token"]].item(), abs=1e-5)
        assert answer["sequence"].replace(" ", "") == text[:20] + answer["token_str"] + text[21:60]


@pytest.mark.parametrize("kmer", [(1, 1), (3, 1), (6, 6)], ids=str)
def test_an_export_is_compared_with_its_source(kmer, fasta, tmp_path):
    pytest.importorskip("transformers")
    run = write_run(tmp_path / "run", shrunk(LAYOUTS["tiny"]), *kmer)
    folder = export(run, tmp_path / "out")
    found = compare(run, folder, fasta)
    assert found.windows == 16
    assert found.largest < 1e-5
    assert found.scale > 0.1
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"]["full_attention"]["rope_theta"] = 100.0
    (folder / "config.json").write_text(json.dumps(config))
    assert compare(run, folder, fasta).largest > 1e-3


@pytest.mark.parametrize("kmer", STRIDES, ids=str)
def test_round_trip_is_exact(kmer, tmp_path):
    run = write_run(tmp_path / "run", shrunk(LAYOUTS["base"]), *kmer)
    first = Model.from_pretrained(run, device="cpu")
    back = Model.from_pretrained(export(run, tmp_path / "out"), device="cpu")
    again = Model.from_pretrained(export(tmp_path / "out", tmp_path / "twice"), device="cpu")
    for model in (back, again):
        assert model.config == first.config
        assert model.tokenizer.stride == first.tokenizer.stride
        weights = model.module.state_dict()
        assert all(torch.equal(weights[name], value) for name, value in first.module.state_dict().items())
    assert back.window_bp == 64 - (64 - kmer[0]) % kmer[1]


def test_a_folder_that_transformers_wrote(tmp_path):
    transformers = pytest.importorskip("transformers")
    folder = export(write_run(tmp_path / "run", shrunk(LAYOUTS["base"])), tmp_path / "out")
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(folder)
    theirs.save_pretrained(tmp_path / "saved")
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path / "saved")
    a, b = (Model.from_pretrained(p, device="cpu") for p in (folder, tmp_path / "saved"))
    assert a.config == b.config
    assert a.window_bp == b.window_bp
    assert np.array_equal(a.embed(["ACGTTGCA"]), b.embed(["ACGTTGCA"]))


def test_sizes_survive_both_ways_of_writing_them():
    config = ModelConfig(width=48, depth=7, heads=3, mlp_width=64, global_every=3, global_rope_theta=5e4)
    content = to_config(config, KmerTokenizer(), 512)
    assert from_config(content, "c") == config
    old = {k: v for k, v in content.items() if k not in ("layer_types", "rope_parameters")}
    assert from_config(old, "c") == config
    one_global = to_config(replace(config, global_every=9), KmerTokenizer(), 512)
    assert from_config(one_global, "c").global_every >= 7


def test_a_checkpoint_and_the_last_one_of_a_run(tmp_path):
    run = write_run(tmp_path / "run")
    shutil.copytree(run / "checkpoints" / "step-00000007", run / "checkpoints" / "best")
    assert Model.from_pretrained(run).source.endswith("step-00000007")
    assert Model.from_pretrained(run / "checkpoints" / "best").source.endswith("best")


def test_random_like_is_another_model_of_the_same_shape(tmp_path):
    model = Model.from_pretrained(write_run(tmp_path / "run"), device="cpu")
    a, b, c = model.random_like(0), model.random_like(0), model.random_like(1)
    assert a.config == model.config
    assert np.array_equal(a.embed(["ACGT"]), b.embed(["ACGT"]))
    assert not np.allclose(a.embed(["ACGT"]), c.embed(["ACGT"]))


def test_card_names_data_law_steps_and_licence(tmp_path):
    run = write_run(tmp_path / "run", steps=12)
    summary = {"unit": "bits per base", "held_out": 1.91, "untrained": 2.1, "curve": {"0.15": 1.91, "0.5": 1.95}}
    summary["yardstick"] = {"Markov order 5": 1.93, "Markov order 0": 2.0}
    summary["margin"] = {"Markov order 5": {"below_by": 0.02, "standard_error": 0.004}}
    (run / "summary.json").write_text(json.dumps(summary))
    card = (export(run, tmp_path / "out", license="cc-by-4.0") / "README.md").read_text()
    assert card.startswith("---\nlicense: cc-by-4.0\n")
    for text in ("genome.fa", "R2MAE: ratio drawn uniformly from 0.05 to 0.5", "12 of 32 windows", "step-00000007"):
        assert text in card
    assert "At mask ratio 0.15: Below Markov order 5 by 0.0200 ± 0.0040 bits per base." in card
    assert "Not recorded" in (export(tmp_path / "out", tmp_path / "two") / "README.md").read_text()


def test_export_refusals(tmp_path):
    run = write_run(tmp_path / "run")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes.txt").touch()
    with pytest.raises(RunError, match="not empty; replace it with --overwrite"):
        export(run, tmp_path / "used")
    with pytest.raises(RunError, match="not an exported model, so --overwrite will not remove it"):
        export(run, tmp_path / "used", overwrite=True)
    with pytest.raises(RunError, match="cannot write the model"):
        export(run, "/proc/nowhere/out")
    export(run, tmp_path / "out")
    export(run, tmp_path / "out", overwrite=True)
    mae = write_run(tmp_path / "mae", ModelConfig(width=16, depth=1, heads=2, mlp_width=16, objective="mae"))
    with pytest.raises(RunError, match="a decoder, which ModernBERT lacks"):
        export(mae, tmp_path / "mae_out")


class Trap:
    """Unpickling this would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_is_refused_and_never_opened(tmp_path):
    folder = export(write_run(tmp_path / "run"), tmp_path / "out")
    (folder / "model.safetensors").unlink()
    torch.save(Trap(tmp_path / "sprung"), folder / "pytorch_model.bin")
    with pytest.raises(RunError, match=r"pytorch_model.bin may hold a pickle.*only safetensors are read"):
        Model.from_pretrained(folder)
    with pytest.raises(RunError, match="may hold a pickle"):
        Model.from_pretrained(folder / "pytorch_model.bin")
    assert not (tmp_path / "sprung").exists()


def test_what_is_no_model_is_refused_in_one_line(tmp_path):
    run = write_run(tmp_path / "run")
    folder = export(run, tmp_path / "out")
    config = json.loads((folder / "config.json").read_text())

    def refused(match, path=folder, **change):
        (folder / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(RunError, match=match) as error:
            Model.from_pretrained(path)
        assert "\n" not in str(error.value)

    refused("neither a run, nor a checkpoint of one, nor an exported folder", tmp_path / "none")
    refused("expected model_type modernbert or dnar2mae, got bert", model_type="bert")
    refused("norm_eps must be 1e-05, got 1e-12", norm_eps=1e-12)
    refused("layer_types must have a full_attention layer first", layer_types=["sliding_attention", "full_attention"])
    refused("out: does not fit the model: encoder.layers.0.mlp_in.weight is", intermediate_size=20)
    (folder / "tokenizer.json").write_text("{")
    refused("not a tokenizer.json")
    other = to_tokenizers(KmerTokenizer())
    other.add_tokens(["AAAA"])
    other.save(str(folder / "tokenizer.json"))
    refused(r"expected the tokens \[PAD\], \[MASK\].* got 9 tokens")
    (folder / "model.safetensors").write_bytes(b"no")
    refused("the weights cannot be read")
    (folder / "model.safetensors").unlink()
    refused("no model.safetensors in this folder")
    (folder / "config.json").write_text("{")
    with pytest.raises(RunError, match="not readable JSON"):
        Model.from_pretrained(folder)
    shutil.rmtree(run / "checkpoints" / "step-00000007")
    with pytest.raises(RunError, match="this run has no checkpoint yet"):
        Model.from_pretrained(run)
    with pytest.raises(ConfigError, match="--device must be one that this machine has, got gpu"):
        Model.from_pretrained(run, device="gpu")


def first_validation(out):
    rows = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    return next(row["held_out"] for row in rows if row["event"] == "validation")


def test_pretraining_goes_on_from_a_run_or_an_export(fasta, tmp_path):
    settings = {"batch_size": 4, "validation_windows": 16, "device": "cpu", "precision": "fp32"}
    config = PretrainConfig(
        data=DataConfig(genomes=(str(fasta),), window_bp=64),
        model=ModelConfig(width=16, depth=2, heads=2, mlp_width=16),
        tokenizer=TokenizerConfig(k=2),
        steps=3,
        **settings,
    )
    pretrain(config, tmp_path / "first")
    last = [json.loads(line) for line in (tmp_path / "first" / "metrics.jsonl").read_text().splitlines()][-1]
    export(tmp_path / "first", tmp_path / "hf")
    for init in ("first", "hf"):
        out = tmp_path / f"from_{init}"
        fresh = PretrainConfig(data=config.data, steps=2, init=str(tmp_path / init), **settings)
        pretrain(fresh, out)
        assert first_validation(out) == pytest.approx(last["held_out"], abs=1e-6)
        assert Model.from_pretrained(out, device="cpu").config == config.model
        assert Model.from_pretrained(out, device="cpu").tokenizer.k == 2
        assert pretrain(fresh, out, resume=True).finished
    with pytest.raises(RunError, match="neither a run, nor a checkpoint"):
        pretrain(replace(fresh, init="none"), tmp_path / "bad")
    assert not (tmp_path / "bad").exists()


def test_a_read_model_can_be_trained(tmp_path):
    run = write_run(tmp_path / "run")
    model = Model.from_pretrained(run, device="cpu", trainable=True)
    module, before = model.module, model.embed(["ACGTTGCA"])
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01)
    ids = torch.from_numpy(model.tokenizer.encode_text("ACGTTGCAGATTACA"))[None].long()
    torch.nn.functional.cross_entropy(module.logits(module(ids))[0], ids[0]).backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    optimizer.step()
    after = model.embed(["ACGTTGCA"])
    assert np.abs(after - before).max() > 1e-3
    assert np.array_equal(Model.from_pretrained(run, device="cpu").embed(["ACGTTGCA"]), before)


@pytest.mark.parametrize("backbone", ["transformer", "cnn"])
@pytest.mark.parametrize("told", [False, True])
def test_an_n_is_no_label_of_a_collator(backbone, told, tmp_path):
    transformers = pytest.importorskip("transformers")
    layout = ModelConfig(backbone=backbone, width=16, depth=2, heads=2, mlp_width=16)
    folder = export(write_run(tmp_path / "run", layout), tmp_path / "out")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder)
    collator = transformers.DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.5)
    rows = [tokenizer("ACGTNNNNACGTACGTNN" * 3, return_special_tokens_mask=told) for _ in range(4)]
    batch = collator(rows)
    assert (batch["labels"] == tokenizer.unk_token_id).any() == told
    loss, logits = model(**batch).loss, model(input_ids=batch["input_ids"]).logits
    counted = batch["labels"] >= 4
    expected = torch.nn.functional.cross_entropy(logits[counted], batch["labels"][counted])
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    assert 0.5 < loss < 4
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)


@pytest.mark.parametrize("kmer", STRIDES, ids=str)
def test_decoding_gives_the_bases_without_spaces(kmer, tmp_path):
    transformers = pytest.importorskip("transformers")
    folder = export(write_run(tmp_path / "run", None, *kmer), tmp_path / "out")
    ours, theirs = KmerTokenizer(*kmer), transformers.AutoTokenizer.from_pretrained(folder)
    for length in (kmer[0], 24, 37):
        (text,) = sequences(np.random.default_rng(length), [length])
        ids = ours.encode_text(text)
        assert theirs.decode(ids.tolist()) == ours.decode(ids) == text[: len(ours.decode(ids))]
    masked = theirs.decode(theirs("ACGTTG[MASK]ACGTTG")["input_ids"])
    assert masked == f"{ours.decode(ours.encode_text('ACGTTG'))}[MASK]{ours.decode(ours.encode_text('ACGTTG'))}"


def test_exported_files_have_the_users_mode(tmp_path):
    before = os.umask(0o027)
    try:
        folder = export(write_run(tmp_path / "run"), tmp_path / "out")
    finally:
        os.umask(before)
    weights = [*folder.iterdir(), *(tmp_path / "run").glob("checkpoints/*/*")]
    assert {path.name for path in weights} >= {"model.safetensors", "optimizer.safetensors", "README.md"}
    assert {path.stat().st_mode & 0o777 for path in weights} == {0o640}

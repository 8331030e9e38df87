import warnings
from dataclasses import replace

import pytest

from dnar2mae.cli.starting_point import warn_ignored
from dnar2mae.config import DataConfig, MaskConfig, ModelConfig, OptimizerConfig, PretrainConfig, TokenizerConfig
from dnar2mae.errors import ConfigError
from dnar2mae.modalities.cell.config import CellConfig
from dnar2mae.modalities.registry import preset_for
from dnar2mae.modalities.text.config import TextConfig
from dnar2mae.presets import PRESETS
from dnar2mae.run.config_file import flatten, read_config, write_config
from dnar2mae.training.optimizer import learning_rate


@pytest.mark.parametrize("preset", PRESETS)
def test_a_saved_configuration_reads_back(preset, tmp_path):
    config = replace(PRESETS[preset](), data=DataConfig(genomes=("a.fa", "b.fa"), weights=(1.0, 2.5)))
    write_config(config, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml") == config


def test_a_partial_file_is_laid_over_the_preset(tmp_path):
    (tmp_path / "c.yaml").write_text("mask:\n  high: 0.9\nsteps: 7\n")
    config = read_config(tmp_path / "c.yaml", default=PRESETS["small"]())
    assert (config.mask.high, config.mask.low, config.steps) == (0.9, 0.05, 7)
    assert config.model == PRESETS["small"]().model


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mask:\n  lowest: 0.1\n", r"unknown key lowest @ \$.mask"),
        ("stepz: 3\n", "unknown key stepz"),
        ("mask:\n  high: 1.3\n", r"--mask.high must be in \[0, 1\], got 1.3"),
        ("mask:\n  law: zipf\n", "law"),
        ("steps: many\n", r"expected a whole number, got 'many' @ \$.steps"),
        ("steps: '12'\n", "expected a whole number, got '12'"),
        ("batch_size: 8.9\n", "expected a whole number, got 8.9"),
        ("micro_batch: true\n", "expected a whole number, got True"),
        ("optimizer: {lr: true}\n", "expected a number, got True"),
        ("optimizer: {lr: fast}\n", "expected a number, got 'fast'"),
        ("data: {weights: [1, 0x" + "f" * 400 + "]}\n", r"expected a number, got .* @ \$.data.weights"),
        ("data: {reverse_complement: 'no'}\n", "expected true or false, got 'no'"),
        ("data: {genomes: genome.fa}\n", r"expected a list, got 'genome.fa' @ \$.data.genomes"),
        ("data: {validation: '21'}\n", "expected a list, got '21'"),
        ("data: {validation: [21]}\n", r"expected text \(in quotes, if it looks like a number\), got 21"),
        ("mask: {replace: [1, 0]}\n", r"expected a list of 3, got \[1, 0\]"),
        ("mask: [1]\n", r"expected a mapping of settings to values, got \[1\] @ \$.mask"),
        ("data: ~\n", r"expected a mapping of settings to values, got None @ \$.data"),
        ("modality: [1]\n", r"modality: expected text .*, got \[1\]"),
        ("modality: smell\n", "modality: --modality must be one of"),
        ("'x'\n", "expected a mapping of settings to values, got 'x'"),
        ("seed: 2020-13-45\n", "not YAML: month must be in 1..12"),
        ("seed: " + "9" * 5000, "not YAML: Exceeds the limit"),
        ("seed: !!float 'x'\n", "not YAML: could not convert"),
        ("seed: !!int ''\n", "not YAML: string index"),
        ("[" * 3000, "not YAML: maximum recursion"),
        ("- 1\n", "expected a mapping"),
        ("a: [\n", "not YAML"),
        ("mask: {0.9, x: 1}\n", r"unknown key 0.9, x"),
    ],
)
def test_faults_in_a_file_are_named(text, message, tmp_path):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        read_config(tmp_path / "bad.yaml")
    assert "bad.yaml" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["1e-3", "'0.001'", "0.001", "1.0e-3"])
def test_numbers_may_be_written_as_python_reads_them(text, tmp_path):
    (tmp_path / "c.yaml").write_text(f"optimizer: {{lr: {text}}}\n")
    assert read_config(tmp_path / "c.yaml").optimizer.lr == 0.001


def test_every_cut_of_a_saved_configuration_is_refused_as_a_run_s_own(tmp_path):
    path = tmp_path / "config.yaml"
    write_config(PretrainConfig(), path)
    text = path.read_text()
    assert read_config(path, whole=True) == PretrainConfig()
    for length in range(len(text) - 1):
        path.write_text(text[:length])
        with pytest.raises(ConfigError, match="cut short, or of an earlier version: a run's|not YAML"):
            read_config(path, whole=True)
    path.write_text(text.removesuffix("...\n"))
    assert read_config(path) == PretrainConfig()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="none.yaml: cannot read"):
        read_config(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "--steps must be at least 1, got 0"),
        (
            {"batch_size": 8, "micro_batch": 3},
            r"--micro-batch must be a divisor of --batch-size \(8\), got 3",
        ),
        ({"seed": -1}, "--seed must be in"),
        ({"num_workers": -1}, "--num-workers must be at least 0"),
    ],
)
def test_bad_runs(settings, message):
    with pytest.raises(ConfigError, match=message):
        PretrainConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window_bp": 4}, "--data.window-bp must be at least 8, got 4"),
        ({"validation_share": 0.7}, r"--data.validation-share must be in \(0, 0.5\], got 0.7"),
        ({"max_n_share": 1.0}, "--data.max-n-share"),
        ({"genomes": ("a",), "weights": (1.0, 2.0)}, r"one weight a genome \(1\), got 2"),
        ({"weights": (0.0,)}, "--data.weights must be all > 0"),
        ({"validation": ("x",), "test": ("x",)}, "--data.test must be disjoint"),
    ],
)
def test_bad_data_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        DataConfig(**settings)


@pytest.mark.parametrize("schedule", ["cosine", "wsd", "constant"])
def test_learning_rate_warms_up_and_decays(schedule):
    config = OptimizerConfig(lr=1.0, schedule=schedule, warmup_steps=10, decay_share=0.25, final_lr_share=0.1)
    rates = [learning_rate(step, 110, config) for step in range(111)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[10] == 1.0
    assert rates[60] == pytest.approx({"cosine": 0.55, "wsd": 1.0, "constant": 1.0}[schedule])
    assert rates[110] == pytest.approx(1.0 if schedule == "constant" else 0.1)
    assert all(a >= b for a, b in zip(rates[10:], rates[11:], strict=False))


def test_flags_name_every_setting_once():
    flat = flatten(PretrainConfig())
    assert flat["mask.low"] == 0.05
    assert flat["batch_size"] == 32


def test_a_tokenizer_file_excludes_k_mers():
    with pytest.raises(ConfigError, match="leave them out with --tokenizer.file"):
        TokenizerConfig(file="bpe.json", k=3)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PretrainConfig(kernels="tritn"), "--kernels must be auto, reference or triton, got tritn"),
        (lambda: PretrainConfig(attention="flash"), "--attention must be auto, flash_attn, varlen or sdpa, got flash"),
        (lambda: PretrainConfig(precision="fp16"), "--precision must be auto, fp32 or bf16, got fp16"),
        (lambda: PretrainConfig(parallel="tp"), "--parallel must be ddp or fsdp, got tp"),
        (
            lambda: MaskConfig(placement="words"),
            "--mask.placement must be independent, spans, pmi or suffix, got words",
        ),
        (lambda: ModelConfig(backbone="rnn"), "--model.backbone must be transformer, hybrid, cnn or mlp, got rnn"),
        (lambda: OptimizerConfig(schedule="step"), "--optimizer.schedule must be cosine, wsd or constant, got step"),
        (lambda: TextConfig(split="page"), "--data.split must be paragraph, line or file, got page"),
        (lambda: CellConfig(encoding="all"), "--data.encoding must be genes or whole, got all"),
    ],
)
@pytest.mark.usefixtures("any_type")
def test_a_value_that_is_no_choice_is_refused_in_python(build, message):
    with pytest.raises(ConfigError, match=message):
        build()


@pytest.mark.parametrize(
    ("settings", "ignored"),
    [
        ({"mask": MaskConfig(law="fixed")}, {"mask.low", "mask.high", "mask.ratios", "mask.per"}),
        ({"mask": MaskConfig(placement="spans")}, {"mask.pmi_length", "mask.ratio", "mask.ratios"}),
        ({"mask": MaskConfig(law="choice", placement="pmi")}, {"mask.span_mean", "mask.low", "mask.ratio"}),
        ({"model": ModelConfig(backbone="cnn")}, {"attention", "model.heads", "model.mlp_channels"}),
        ({"model": ModelConfig(backbone="mlp")}, {"model.mlp_width", "model.conv_kernel", "model.decoder_depth"}),
        ({"model": ModelConfig(global_every=1)}, {"model.local_tokens", "model.local_rope_theta"}),
        ({"optimizer": OptimizerConfig(schedule="constant")}, {"optimizer.decay_share", "optimizer.final_lr_share"}),
        ({"data": DataConfig(validation=("chr1",))}, {"data.validation_share", "data.validation_blocks"}),
        ({"data": TextConfig(start="^ =", validation=("a",))}, {"data.split", "data.validation_share"}),
        ({"data": CellConfig(encoding="whole")}, {"data.likelihood", "data.num_tokens", "data.zero_share"}),
        ({}, {"parallel", "reduce", "timeout_s"}),
    ],
)
def test_settings_without_effect_are_known(settings, ignored):
    assert ignored <= PretrainConfig(**settings).ignored().keys()


def test_settings_with_an_effect_are_not_called_ignored():
    mask = MaskConfig(law="uniform", placement="spans", per="sample")
    model = ModelConfig(global_every=3, objective="mae")
    config = PretrainConfig(mask=mask, model=model, optimizer=OptimizerConfig(schedule="wsd"))
    assert config.ignored().keys() == {
        *("mask.ratio", "mask.ratios", "mask.a", "mask.b", "mask.centre", "mask.sd", "mask.pmi_length"),
        *("model.conv_kernel", "model.conv_groups", "model.strand_symmetric", "model.mlp_channels"),
        *("parallel", "reduce", "timeout_s"),
    }


@pytest.mark.parametrize("modality", ["dna", "text", "image", "cell"])
@pytest.mark.parametrize("preset", PRESETS)
def test_no_preset_is_warned_of(preset, modality):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_ignored(preset_for(modality, PRESETS[preset]()), preset)


def test_a_changed_setting_without_effect_is_warned_of():
    with pytest.warns(UserWarning, match="--mask.low has no effect: --mask.law fixed does not take it"):
        warn_ignored(PretrainConfig(mask=MaskConfig(law="fixed", low=0.2)), "tiny")


@pytest.mark.parametrize("backbone", ["transformer", "mlp", "cnn", "hybrid"])
def test_groups_must_divide_the_width_where_there_are_convolutions(backbone):
    sizes = {"backbone": backbone, "width": 36, "heads": 2, "conv_groups": 8}
    if backbone in ("transformer", "mlp"):
        assert ModelConfig(**sizes).conv_groups == 8
    else:
        with pytest.raises(ConfigError, match=r"--model.conv-groups must be a divisor of --model.width \(36\), got 8"):
            ModelConfig(**sizes)


def test_what_is_refused_is_not_called_ignored():
    config = ModelConfig(backbone="transformer", strand_symmetric=True)
    assert "strand_symmetric" not in config.ignored()
    assert "strand_symmetric" in replace(config, strand_symmetric=None).ignored()

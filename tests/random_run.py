"""A run directory with a random model, for tests of what trained models are for."""

import torch

from dnar2mae.batch import Layout
from dnar2mae.config import DataConfig, ModelConfig, PretrainConfig, TokenizerConfig
from dnar2mae.models import MaskedModel
from dnar2mae.run.checkpoint import Snapshot
from dnar2mae.run.config_file import write_config
from dnar2mae.tokenizers import KmerTokenizer


def write_run(folder, model=None, k=1, stride=None, noise=0.1, **settings):
    """A run directory with one checkpoint of a random model, its weights moved away from where they start."""
    layout = model or ModelConfig(width=16, depth=2, heads=2, mlp_width=16)
    config = PretrainConfig(
        model=layout,
        tokenizer=TokenizerConfig(k=k, stride=stride),
        data=DataConfig(genomes=("genome.fa",), window_bp=64),
        **settings,
    )
    tokenizer = KmerTokenizer(k, stride)
    length = tokenizer.num_tokens(config.data.window_bp)
    module = MaskedModel.of_tokens(config.model, tokenizer.vocabulary, Layout(axes=(length,), tokens=length))
    module.reset_parameters(torch.Generator().manual_seed(1))
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name != "head.bias":
                parameter.add_(torch.randn_like(parameter) * noise)
    if module.symmetry is not None:
        module.symmetry.average_(module.named_parameters())
    (folder / "checkpoints").mkdir(parents=True)
    write_config(config, folder / "config.yaml")
    optimizer = torch.optim.AdamW(module.parameters())
    Snapshot.take(module, optimizer, {"step": 7, "history": []}).write(folder / "checkpoints" / "step-00000007")
    return folder

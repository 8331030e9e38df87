"""What a run begins with: random weights, or those that ``--init`` names."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from dnar2mae.config import ModelConfig, PretrainConfig, TokenizerConfig
from dnar2mae.errors import RunError
from dnar2mae.models import MaskedModel
from dnar2mae.models.modernbert import read_modernbert
from dnar2mae.run.checkpoint import find_checkpoint, load_checkpoint, load_weights
from dnar2mae.run.config_file import read_config
from dnar2mae.tokenizers.kmer_json import read_tokenizer


@dataclass(frozen=True, slots=True)
class InitialWeights:
    """What ``--init`` names."""

    model: ModelConfig
    tokenizer: TokenizerConfig
    saved: Path | None
    """The run directory, if it is one or a checkpoint of one."""
    load: Callable[[MaskedModel], object]
    """Puts the weights into a model."""


def starting_point(config: PretrainConfig, begun: Path | None) -> tuple[PretrainConfig, InitialWeights | None]:
    """Settle where a run starts.

    The first checkpoint of a run with ``--init``, of step 0, holds what it began with. From then on ``--init`` is not
    read: the run there may have moved on, or away.

    Parameters
    ----------
    config
        The run as asked for.
    begun
        Directory of the run to go on with, if it has a checkpoint.

    Returns
    -------
    PretrainConfig
        With the model and tokenizer settings of ``--init``.
    InitialWeights or None
        What to begin with; None without ``--init``, and for a run that has a checkpoint.

    Raises
    ------
    RunError
        As :func:`initial_weights`.
    """
    if not config.init:
        return config, None
    if begun is not None:
        own = read_config(begun / "config.yaml", whole=True)
        return replace(config, model=own.model, tokenizer=own.tokenizer), None
    start = initial_weights(config)
    return replace(config, model=start.model, tokenizer=start.tokenizer), start


def initial_weights(config: PretrainConfig) -> InitialWeights:
    """Read what ``--init`` names: a run or a checkpoint of the same kind of data, or a ModernBERT folder.

    Raises
    ------
    RunError
        If it is none of these, or of another kind of data.
    """
    path = Path(str(config.init))
    found = find_checkpoint(path)
    if found is None:
        model, weights, _ = read_modernbert(path)
        kmers = read_tokenizer(path)
        tokenizer = TokenizerConfig(k=kmers.k, stride=kmers.stride)
        return InitialWeights(model, tokenizer, None, lambda to: load_weights(to, weights, path))
    run, checkpoint = found
    before = read_config(run / "config.yaml", whole=True)
    if before.modality != config.modality:
        raise RunError(f"--init {path}: expected a run on {config.modality}, got one on {before.modality}")
    return InitialWeights(before.model, before.tokenizer, run, lambda to: load_checkpoint(checkpoint, to))

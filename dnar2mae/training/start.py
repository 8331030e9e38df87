"""Where a run starts: random weights, or those that ``--init`` names."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from dnar2mae.config import ModelConfig, PretrainConfig, TokenizerConfig
from dnar2mae.errors import RunError
from dnar2mae.modalities.registry import preset_for
from dnar2mae.models import MaskedModel
from dnar2mae.presets import PRESETS
from dnar2mae.run.checkpoint import find_checkpoint, load_checkpoint, load_weights
from dnar2mae.run.config_file import differences, flatten, read_config
from dnar2mae.run.exported import read_exported


@dataclass(frozen=True, slots=True)
class InitialWeights:
    """The model that ``--init`` names."""

    model: ModelConfig
    tokenizer: TokenizerConfig
    saved: Path | None
    """Its run directory; None for an exported folder."""
    load: Callable[[MaskedModel], object]
    """Loads the weights into a model."""


def starting_point(config: PretrainConfig, begun: Path | None) -> tuple[PretrainConfig, InitialWeights | None]:
    """Return where a run starts, and its configuration with the settings of ``--init``.

    The first checkpoint of a run with ``--init``, at step 0, has the weights it began with. From then on ``--init`` is
    not read: its files may have changed or moved.

    Parameters
    ----------
    config
        The configuration as given.
    begun
        Directory of the run to resume, if it has a checkpoint.

    Returns
    -------
    PretrainConfig
        With the model and tokenizer settings of ``--init``.
    InitialWeights or None
        None without ``--init``, and for a run that has a checkpoint.

    Raises
    ------
    RunError
        As :func:`initial_weights`; or if a setting of the model or tokenizer is neither that of the weights nor a
        preset's, so that somebody must have chosen it.
    """
    if not config.init:
        return config, None
    start = initial_weights(config) if begun is None else None
    own = start or read_config(begun / "config.yaml", whole=True)  # type: ignore[operator]
    settled = replace(config, model=own.model, tokenizer=own.tokenizer)
    # a value that no preset has was chosen by somebody, who should know that it is not used
    presets = [flatten(preset_for(config.modality, preset())) for preset in (PretrainConfig, *PRESETS.values())]
    chosen = {name for name, value in flatten(config).items() if all(value != preset[name] for preset in presets)}
    refuse_other_settings(settled, config, among=chosen)
    return settled, start


def refuse_other_settings(
    wanted: PretrainConfig, given: PretrainConfig, *, among: Collection[str] | None = None
) -> None:
    """Check that the settings of model and tokenizer are those of the initial weights.

    Parameters
    ----------
    wanted, given
        The configuration with the settings of ``--init``, and as given.
    among
        Settings to compare; by default all.

    Raises
    ------
    RunError
        If any differs; the message has both values of each.
    """
    differing = [
        f"--{name.replace('_', '-')} is {there} there, got {here}"
        for name, (there, here) in differences(flatten(wanted), flatten(given)).items()
        if name.startswith(("model.", "tokenizer.")) and (among is None or name in among)
    ]
    if differing:
        raise RunError(f"--init {wanted.init}: the weights keep their settings: {'; '.join(differing)}")


def initial_weights(config: PretrainConfig) -> InitialWeights:
    """Read what ``--init`` names: a run or a checkpoint of the same modality, or an exported folder.

    Raises
    ------
    RunError
        If it is none of these, or of another modality.
    """
    path = Path(str(config.init))
    located = find_checkpoint(path)
    if located is None:
        model, kmers, weights, _ = read_exported(path)
        tokenizer = TokenizerConfig(k=kmers.k, stride=kmers.stride)
        return InitialWeights(model, tokenizer, None, lambda to: load_weights(to, weights, path))
    run, checkpoint = located
    before = read_config(run / "config.yaml", whole=True)
    if before.modality != config.modality:
        raise RunError(f"--init {path}: expected a run on {config.modality}, got one on {before.modality}")
    return InitialWeights(before.model, before.tokenizer, run, lambda to: load_checkpoint(checkpoint, to))

"""How many bits a model needs for given bases: exactly in a stated order, and at most (the bound)."""

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64, UInt8

from dnar2mae.density.chain_rule import token_bits
from dnar2mae.density.counts import window_bits
from dnar2mae.density.hidden import evaluation_plan
from dnar2mae.density.options import LikelihoodOptions
from dnar2mae.density.strands import BothStrands
from dnar2mae.density.windows import ScoredWindows, dna_of, held_out_windows, single_bases, windows_of
from dnar2mae.errors import ConfigError, SequenceError
from dnar2mae.genome.alphabet import UNKNOWN
from dnar2mae.genome.markov import MarkovCounts
from dnar2mae.inference import TrainedModel
from dnar2mae.modalities.contract import Copies
from dnar2mae.modalities.dna.copies import WindowCopies
from dnar2mae.modalities.dna.modality import DnaModality
from dnar2mae.models.head import TokenHead
from dnar2mae.scoring.blocks import Estimate, ratio_of_sums
from dnar2mae.storage.progress import progress_bar
from dnar2mae.storage.safe_files import output_file, refuse_inputs
from dnar2mae.tokenizers import KmerTokenizer
from dnar2mae.training.bound import bound_of, extrapolated, sample_bounds, why_no_bound
from dnar2mae.training.validation import masked_sums

_BOUND_AT_ONCE = 64  # windows
_SEPARATORS = {".tsv": "\t", ".csv": ","}


@dataclass(frozen=True, kw_only=True)
class Likelihood:
    """Bits of windows."""

    table: pd.DataFrame
    """A row for each window: where it lies, ``units`` scored, ``bits``, ``bits_per_unit``, and ``markov_bits``."""
    track: pd.DataFrame | None
    """``name``, ``start``, ``end``, ``strand``, ``bits`` of every token; None without fixed tokens or an order."""
    totals: dict[str, Any] = field(default_factory=dict)
    """Sums, values per unit with standard errors over blocks of windows, and the rival's."""

    def lines(self) -> list[str]:
        """Return the totals in words."""
        t = self.totals
        lines = [f"{t['windows']:,} of {t['all_windows']:,} windows, {t['units']:,.0f} bases or bytes scored"]
        if t["both_strands"]:
            lines.append("each base by the mean of the probabilities on both strands")
        if t["copies"]:
            lines.append("with copies in the training DNA looked up")
        for name in ("exact", "bound", "markov"):
            if name in t:
                error = f" ± {t[name]['standard_error']:.4f}" if math.isfinite(t[name]["standard_error"]) else ""
                flag = f"; extrapolated: {t[name]['extrapolated']}" if t[name].get("extrapolated") else ""
                lines.append(f"{t[name]['what']}: {t[name]['value']:.4f}{error} {t['unit']}{flag}")
        if "exact" in t:
            lines.append(f"in all {t['exact']['bits']:,.1f} bits")
        return lines


def likelihood(trained: TrainedModel, options: LikelihoodOptions, *, progress: bool = False) -> Likelihood:
    """Score windows exactly in an order, and under the bound; beside them the best one-sided Markov model.

    Parameters
    ----------
    trained
        A model whose head has probabilities of tokens.
    options
        Which windows, which order.
    progress
        Show progress bars on a terminal.

    Raises
    ------
    ConfigError
        If the model has no such head, or its tokens overlap.
    SequenceError
        If no base of the windows is known.
    """
    check_density(trained)
    if options.both_strands:
        single_bases(trained, "--both-strands")
        if not trained.model.is_strand_symmetric:
            trained = replace(trained, model=BothStrands(trained.model))
    if options.genome is None:
        windows = held_out_windows(trained, options.num_windows)
    else:
        windows = windows_of(trained, options.genome, options.bed, options.num_windows)
    units = _units(trained, windows)
    if not units.sum():
        raise SequenceError(f"{options.genome or trained.source}: no known base in these windows; nothing to score")
    totals: dict[str, Any] = {
        "model": trained.source,
        "unit": trained.modality.unit,
        "windows": len(units),
        "all_windows": windows.total,
        "units": float(units.sum()),
        "both_strands": options.both_strands,
        "copies": options.copies,
    }
    if options.copies:
        _check_copies(trained)
    table, track = windows.table.assign(units=units), None
    rival, copies = None, None
    if isinstance(trained.modality, DnaModality) and trained.config.data.genomes and windows.codes is not None:
        bases = trained.modality.training_bases()  # first: the training genome may be gone
        rival = _markov(trained.modality, windows, bases)
        copies = _copies(trained.modality, windows, bases) if options.copies else None
        del bases  # of the size of the genome
    if options.order != "none":
        bits = _exact(trained, windows, options, copies, progress)
        sums = np.array([np.nansum(part) for part in bits])
        table = table.assign(bits=sums, bits_per_unit=sums / np.where(units > 0, units, np.nan))
        what = f"exact, {options.order}"
        totals["exact"] = {"what": what, "bits": sums.sum(), "order": options.order, **_estimate(sums, units)}
        track = _track(trained, windows, bits)
    if options.bound:
        totals["bound"] = _bound(trained, windows, options.bound, copies, progress)
    if rival is not None:
        order, rivals = rival
        table = table.assign(markov_bits=rivals)
        what = f"Markov order {order}, one-sided, the best"
        totals["markov"] = {"what": what, "order": order} | _estimate(rivals, units)
    return Likelihood(table=table, track=track, totals=totals)


def check_density(trained: TrainedModel) -> None:
    """Raise a ``ConfigError`` if a model's predictions make no density."""
    if not isinstance(trained.model.head, TokenHead):
        raise ConfigError(
            f"{trained.source}: a density needs a head with probabilities of tokens (dna, text), got a model of "
            f"--modality {trained.config.modality}, which predicts numbers"
        )
    if trained.modality.vocabulary.anchor_stride > 1:
        raise ConfigError(f"{trained.source}: the tokens overlap (--tokenizer.stride below --tokenizer.k): no density")


def _estimate(sums: Float64[np.ndarray, " S"], units: Float64[np.ndarray, " S"]) -> dict[str, float]:
    value: Estimate = ratio_of_sums(sums, units)
    return {"value": value.value, "standard_error": value.standard_error}


def _units(trained: TrainedModel, windows: ScoredWindows) -> Float64[np.ndarray, " S"]:
    """Return how many bases (or bytes) of each window are scored."""
    units = []
    for sample in windows.sample_ids:
        batch = windows.source.batch(np.array([sample]))
        of_tokens = batch.weight * 0 + 1 if batch.units is None else batch.units
        units.append(float((of_tokens * batch.maskable).sum()) * trained.modality.vocabulary.bases_per_token)
    return np.array(units)


def _check_copies(trained: TrainedModel) -> None:
    """Raise a ``ConfigError`` if nothing can be looked up for a model."""
    if not isinstance(dna_of(trained, "--copies").tokenizer, KmerTokenizer):
        raise ConfigError("--copies needs a model of DNA by single bases or k-mers, got one with --tokenizer.file")
    if not trained.config.data.genomes:
        raise ConfigError(f"--copies: {trained.source} does not name the genome that it was trained on; give its run")


def _copies(modality: DnaModality, windows: ScoredWindows, bases: UInt8[np.ndarray, " F"]) -> Copies:
    """Look windows up in the training bases."""
    assert windows.codes is not None
    assert isinstance(modality.tokenizer, KmerTokenizer)
    own = [windows.codes(int(sample)) for sample in windows.sample_ids]
    codes = np.full((len(own), max(map(len, own))), UNKNOWN, np.uint8)
    for row, window in zip(codes, own, strict=True):
        row[: len(window)] = window
    return WindowCopies(modality.tokenizer, windows.sample_ids, codes, bases)


def _exact(
    trained: TrainedModel, windows: ScoredWindows, options: LikelihoodOptions, copies: Copies | None, progress: bool
) -> list[Float64[np.ndarray, " _"]]:
    assert options.order != "none"
    total = int(_units(trained, windows).sum()) // trained.modality.vocabulary.bases_per_token
    bits: dict[int, np.ndarray] = {}
    with progress_bar(f"scoring {options.order}", total, show=progress) as bar:
        # windows of one length at a time: padding would cost time, and keep the encoder from computing parts alone
        lengths = np.array([windows.source.batch(np.array([i])).tokens.shape[1] for i in windows.sample_ids])
        for length in dict.fromkeys(lengths.tolist()):
            own = np.flatnonzero(lengths == length)
            of_own = token_bits(
                trained.model,
                windows.source,
                windows.sample_ids[own],
                options.order,
                seed=options.seed,
                copies=copies,
                advance=bar.advance,
            )
            bits |= dict(zip(own.tolist(), of_own, strict=True))
    return [bits[window] for window in range(len(lengths))]


def _bound(
    trained: TrainedModel, windows: ScoredWindows, pairs: int, copies: Copies | None, progress: bool
) -> dict[str, Any]:
    mask = trained.config.mask
    if reason := why_no_bound(trained.model.head, mask):
        raise ConfigError(f"--bound: {trained.source}: {reason}")
    plan, ids = evaluation_plan(trained.modality.vocabulary), windows.sample_ids
    parts = np.array_split(ids, -(-len(ids) // _BOUND_AT_ONCE))  # in order, so that the bar moves
    with progress_bar("bound: windows", len(ids), show=progress) as bar:
        sums = []
        for part in parts:
            measure = partial(masked_sums, trained.model, copies=copies)
            sums.append(sample_bounds(measure, windows.source, plan, part, pairs))
            bar.advance(len(part))
    value, error = bound_of(np.concatenate(sums, axis=2), trained.modality.unit_size, copies=copies is not None)
    what = f"bound, {2 * pairs} masks a window"
    return {"what": what, "value": value, "standard_error": error, "extrapolated": extrapolated(mask)}


def _markov(
    modality: DnaModality, windows: ScoredWindows, bases: UInt8[np.ndarray, " F"]
) -> tuple[int, Float64[np.ndarray, " S"]]:
    """Return the order that is best on these windows, and its bits for each of them."""
    assert windows.codes is not None
    codes = [windows.codes(int(sample)) for sample in windows.sample_ids]
    tokenizer = modality.tokenizer
    whole = [len(window) for window in codes]
    if isinstance(tokenizer, KmerTokenizer):
        whole = [tokenizer.num_tokens(length) * tokenizer.k for length in whole]
    bits = window_bits(MarkovCounts(bases), codes, whole)
    order = int(bits.sum(1).argmin())
    return order, bits[order]


def _track(trained: TrainedModel, windows: ScoredWindows, bits: list[Float64[np.ndarray, " _"]]) -> pd.DataFrame | None:
    """Return the bits of single tokens with their places; None where tokens have none."""
    tokenizer = getattr(trained.modality, "tokenizer", None)
    if not isinstance(tokenizer, KmerTokenizer) or windows.codes is None:
        return None
    parts = []
    places = windows.table[["name", "start", "end", "strand"]].to_numpy().tolist()
    for (name, first, end, strand), values in zip(places, bits, strict=True):
        known = np.flatnonzero(np.isfinite(values))
        offset = known * tokenizer.k
        start = first + offset if strand == "+" else end - offset - tokenizer.k
        columns = {"name": name, "start": start, "end": start + tokenizer.k, "strand": strand, "bits": values[known]}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True).sort_values(["name", "start"], kind="stable", ignore_index=True)


def check_track(trained: TrainedModel, options: LikelihoodOptions) -> None:
    """Raise a ``ConfigError`` if single tokens of the windows have no places on a genome, or ambiguous ones."""
    if not isinstance(getattr(trained.modality, "tokenizer", None), KmerTokenizer):
        raise ConfigError("--track needs a model of DNA by single bases or k-mers")
    if options.genome is None:
        names = Counter(name for genome in dna_of(trained, "--track").genomes for name in genome.names)
        if shared := [name for name, number in names.items() if number > 1]:
            raise ConfigError(f"--track: several genomes of the run have a sequence {shared[0]}; give one as --genome")


def check_outputs(out: Path, track: Path | None, options: LikelihoodOptions) -> None:
    """Raise a ``ConfigError`` if what is asked for cannot be written, before hours of work."""
    if out.suffix not in _SEPARATORS:
        raise ConfigError(f"--out must end in .tsv or .csv, got {out}")
    refuse_inputs(out, (options.genome, options.bed))
    if track is None:
        return
    if track.suffix not in (".bedgraph", ".tsv"):
        raise ConfigError(f"--track must end in .bedgraph or .tsv, got {track}")
    if options.order == "none":
        raise ConfigError("--track needs an --order: the bound has no bits of single bases")
    refuse_inputs(track, (options.genome, options.bed, out), "--track")


def write_likelihood(scores: Likelihood, out: Path, track: Path | None) -> None:
    """Write the table of windows and the track of bases.

    Raises
    ------
    ConfigError
        If a file cannot be written.
    """
    with output_file(out) as partial:
        scores.table.to_csv(partial, sep=_SEPARATORS[out.suffix], index=False)
    if track is not None:
        assert scores.track is not None, "check_track comes before"
        is_graph, rows = track.suffix == ".bedgraph", scores.track
        if is_graph:  # it has one value a base: where windows overlap, the mean
            rows = rows.groupby(["name", "start", "end"], as_index=False)[["bits"]].mean()
        with output_file(track) as partial:
            rows.to_csv(partial, sep="\t", index=False, header=not is_graph, float_format="%.4f")

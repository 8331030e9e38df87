"""Sequences drawn from a model: from nothing, after a prompt, in chosen regions, and where a genome has N."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, UInt8

from dnar2mae.density.drawing import Sampler, Unfinished, draw_tasks
from dnar2mae.density.likelihood import check_density
from dnar2mae.density.options import GenerateOptions
from dnar2mae.density.windows import single_bases
from dnar2mae.errors import ConfigError
from dnar2mae.genome.alphabet import complement, decode, encode
from dnar2mae.genome.store import Genome
from dnar2mae.inference import TrainedModel
from dnar2mae.modalities.dna.modality import DnaModality
from dnar2mae.modalities.dna.sequences import Sequences, read_sequences
from dnar2mae.random import Stream, draw, threshold
from dnar2mae.storage.progress import progress_bar
from dnar2mae.storage.safe_files import output_file, refuse_inputs
from dnar2mae.tokenizers import Vocabulary

_LINE = 80


class Drawn(NamedTuple):
    """A sequence with drawn parts."""

    name: str
    text: str
    drawn: int
    """Tokens that were drawn."""


@dataclass(kw_only=True, eq=False)
class _Piece:
    """A stretch of a genome in which bases are drawn, and its place."""

    task: Unfinished
    sequence: str
    start: int
    """Of the part that is written, in the sequence."""
    end: int
    left: int
    """Bases of the stretch before that part."""
    strand: str = "+"

    def codes(self, modality: DnaModality) -> UInt8[np.ndarray, " L"]:
        """Return the bases of the part, on its strand."""
        part = self.task.tokens[self.left : self.left + self.end - self.start]
        return encode(modality.text_of(part).encode())


def generate(trained: TrainedModel, options: GenerateOptions, *, progress: bool = False) -> Iterator[Drawn]:
    """Draw sequences; of ``--fill-n`` the whole genome, one sequence after the other.

    Raises
    ------
    Dnar2maeError
        If the model is no density, a file cannot be used, or a prompt does not fit.
    """
    check_density(trained)
    if options.fill_n is not None:
        return _filled_genome(trained, options, Genome.open(options.fill_n), progress)
    if options.bed is not None:
        assert options.genome is not None
        return _redrawn(trained, options, read_sequences(options.bed, genome=options.genome), progress)
    return _new(trained, options, progress)


def _draw(trained: TrainedModel, tasks: list[Unfinished], options: GenerateOptions, progress: bool) -> None:
    sampler = Sampler(steps=options.steps, temperature=options.temperature, seed=options.seed)
    total = sum(int(task.hidden.sum()) for task in tasks)
    with progress_bar("drawing", total, show=progress) as bar:
        draw_tasks(trained.model, tasks, trained.modality.layout.tokens, sampler, advance=bar.advance)


def _new(trained: TrainedModel, options: GenerateOptions, progress: bool) -> Iterator[Drawn]:
    """Draw whole sequences, after the prompt if there is one."""
    modality, vocabulary = trained.modality, trained.modality.vocabulary
    length = options.length_bp // vocabulary.bases_per_token
    prompt = modality.tokens_of(options.prompt or "")
    if length < 1 or len(prompt) > length:
        raise ConfigError(
            f"--length-bp must be at least a token ({vocabulary.bases_per_token}) and the --prompt "
            f"({len(options.prompt or '')}), got {options.length_bp}"
        )
    _check_prompt(options.prompt or "", prompt, vocabulary)
    if rest := options.length_bp % vocabulary.bases_per_token:
        whole = options.length_bp - rest
        warnings.warn(f"--length-bp {options.length_bp}: whole tokens make {whole} bases", stacklevel=2)
    tokens = np.full(length, vocabulary.unk_id, np.int32)
    tokens[: len(prompt)] = prompt
    hidden = ~vocabulary.is_real(tokens)
    tasks = [Unfinished(number=i, tokens=tokens.copy(), hidden=hidden.copy()) for i in range(options.num)]
    _draw(trained, tasks, options, progress)
    for task in tasks:
        yield Drawn(f"drawn-{task.number + 1}", modality.text_of(task.tokens), int(hidden.sum()))


def _check_prompt(text: str, tokens: Int[np.ndarray, " T"], vocabulary: Vocabulary) -> None:
    """Raise a ``ConfigError`` if letters of a prompt would be drawn anew, as parts of tokens that are not known."""
    k = vocabulary.bases_per_token
    if k == 1:
        return
    known = vocabulary.is_real(tokens)
    lost = [text[i * k : (i + 1) * k] for i in np.flatnonzero(~known) if text[i * k : (i + 1) * k].strip("Nn")]
    if lost or len(text) % k:
        raise ConfigError(f"--prompt must be whole tokens of {k} bases, each known or all N, got {text}")


def _redrawn(trained: TrainedModel, options: GenerateOptions, regions: Sequences, progress: bool) -> Iterator[Drawn]:
    """Draw regions anew, or a share of their bases."""
    modality = single_bases(trained, "--bed")
    assert regions.genome is not None
    pieces = []
    for number, row in enumerate(regions.table[["name", "start", "end", "strand"]].to_numpy().tolist()):
        piece = _piece(modality, regions.genome, number, tuple(row))
        at = np.arange(piece.left, piece.left + piece.end - piece.start)
        word, *_ = draw(options.seed, Stream.MASK, number, at)
        piece.task.hidden[at] = (word < threshold(options.mask)) | (options.mask == 1)
        pieces.append(piece)
    counts = [int(piece.task.hidden.sum()) for piece in pieces]
    _draw(trained, [piece.task for piece in pieces], options, progress)
    for piece, count in zip(pieces, counts, strict=True):
        name = f"{piece.sequence}:{piece.start}-{piece.end}({piece.strand})"
        yield Drawn(name, decode(piece.codes(modality)), count)


def _filled_genome(trained: TrainedModel, options: GenerateOptions, genome: Genome, progress: bool) -> Iterator[Drawn]:
    """Fill the runs of unknown bases of a genome; the other bases keep their case."""
    modality = single_bases(trained, "--fill-n")
    runs = genome.n_runs[genome.n_runs[:, 1] - genome.n_runs[:, 0] <= options.longest_bp]
    pieces: list[_Piece] = []
    for number, (start, end) in enumerate(runs.tolist()):
        sequence = int(genome.sequence_of(np.array([start]))[0])
        offset = int(genome.offsets[sequence])
        piece = _piece(modality, genome, number, (genome.names[sequence], start - offset, end - offset, "+"))
        piece.task.hidden[piece.left : piece.left + end - start] = True
        pieces.append(piece)
    _draw(trained, [piece.task for piece in pieces], options, progress)
    for name, length in zip(genome.names, genome.lengths.tolist(), strict=True):
        codes = genome.codes(name, 0, length).copy()
        inside = [piece for piece in pieces if piece.sequence == name]
        for piece in inside:
            codes[piece.start : piece.end] = piece.codes(modality)
        yield Drawn(name, decode(codes), sum(piece.end - piece.start for piece in inside))


def _piece(modality: DnaModality, genome: Genome, number: int, place: tuple[str, int, int, str]) -> _Piece:
    """Return a region with as much of its flanks as fits a window, at least half a window in all."""
    name, start, end, strand = place
    window = modality.config.data.window_bp
    flank = max((window - (end - start) + 1) // 2, window // 4)
    first = max(start - flank, 0)
    last = min(end + flank, int(genome.lengths[genome.index[name]]))
    codes = genome.codes(name, first, last)
    left = start - first
    if strand == "-":
        codes, left = complement(codes[::-1]), last - end
    tokens: Int[np.ndarray, " L"] = modality.tokenizer.encode(codes)  # type: ignore[assignment]
    nothing: Bool[np.ndarray, " L"] = np.zeros(len(tokens), bool)
    task = Unfinished(number=number, tokens=tokens, hidden=nothing)
    return _Piece(task=task, sequence=name, start=start, end=end, left=left, strand=strand)


def _own_genomes(trained: TrainedModel) -> tuple[str, ...]:
    return tuple(trained.config.data.genomes) if isinstance(trained.modality, DnaModality) else ()


def write_drawn(trained: TrainedModel, options: GenerateOptions, out: Path, *, progress: bool = False) -> list[Drawn]:
    """Draw sequences, write them as FASTA, or texts as JSON lines, and return them.

    Raises
    ------
    Dnar2maeError
        As :func:`generate`; or if the suffix does not fit the kind of data, or the file cannot be written.
    """
    import json

    is_dna = isinstance(trained.modality, DnaModality)
    suffixes = (".fa", ".fasta", ".fna") if is_dna else (".jsonl",)
    if out.suffix not in suffixes:
        raise ConfigError(f"--out must end in {', '.join(suffixes)}, got {out}")
    refuse_inputs(out, (options.genome, options.bed, options.fill_n, *_own_genomes(trained)))
    written = []
    with output_file(out) as partial, partial.open("w", encoding="utf-8") as file:
        for one in generate(trained, options, progress=progress):
            written.append(one)
            if is_dna:
                lines = (one.text[at : at + _LINE] for at in range(0, len(one.text), _LINE))
                file.write("\n".join([f">{one.name} drawn={one.drawn}", *lines]) + "\n")
            else:
                file.write(json.dumps({"name": one.name, "text": one.text}) + "\n")
    return written

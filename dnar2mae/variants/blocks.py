"""Sites scored block by block, in this process or in several."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context

import torch

from dnar2mae.errors import ConfigError
from dnar2mae.genome.store import Genome
from dnar2mae.inference import Model
from dnar2mae.run.workers import end_with_parent
from dnar2mae.variants.alleles import Allele
from dnar2mae.variants.options import ScoreOptions
from dnar2mae.variants.scores import Scores, score_alleles

BLOCK = 512
"""Sites scored together: so many that the few insertions and deletions among them make batches."""
_BLOCK_IN_WINDOWS = 2048  # of --snv fast: windows at the ends of a block are computed twice
Block = Sequence[Sequence[Allele]]


def block_of(options: ScoreOptions) -> int:
    """Return how many sites are scored together."""
    return _BLOCK_IN_WINDOWS if options.snv == "fast" else BLOCK


def score_blocks(
    model: Model, genome: Genome, blocks: Iterable[Block], options: ScoreOptions
) -> Iterator[list[Scores]]:
    """Yield the scores of blocks of sites, in order, as :func:`score_alleles` returns them.

    Raises
    ------
    ConfigError
        If ``ScoreOptions.workers`` asks for processes and the model is not on a CPU.
    """
    if not options.workers:
        for block in blocks:
            yield score_alleles(model, genome, block, options)
        return
    if model.device.type != "cpu":
        raise ConfigError(f"--workers are for --device cpu: {model.source} is on {model.device}")
    # not forked: a copy of a process whose libraries have threads may hang
    with ProcessPoolExecutor(options.workers, get_context("spawn"), _begin, (model, genome, options)) as pool:
        waiting: deque[Future[list[Scores]]] = deque()
        for block in blocks:
            waiting.append(pool.submit(_score, block))
            if len(waiting) > 2 * options.workers:  # no more: a file may have millions
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


_of_worker: list[tuple[Model, Genome, ScoreOptions]] = []


def _begin(model: Model, genome: Genome, options: ScoreOptions) -> None:
    end_with_parent()
    torch.set_num_threads(1)
    _of_worker.append((model, genome, options))


def _score(block: Block) -> list[Scores]:
    model, genome, options = _of_worker[0]
    return score_alleles(model, genome, block, options)

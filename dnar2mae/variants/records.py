"""Records in, the same records with the scores and statuses of their alleles out."""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np

from dnar2mae.genome.store import Genome
from dnar2mae.inference import Model
from dnar2mae.variants.allele_windows import longest_allele
from dnar2mae.variants.alleles import SCORED, Site
from dnar2mae.variants.blocks import Block, block_of, score_blocks
from dnar2mae.variants.calibration import calibrate
from dnar2mae.variants.files import Record
from dnar2mae.variants.options import ScoreOptions
from dnar2mae.variants.scores import Scores, spread
from dnar2mae.variants.survey import judge_record


class Scored(NamedTuple):
    """A record, and of each of its alternative alleles the scores and the status."""

    record: Record
    scores: Scores
    statuses: list[str]


def score_records(
    model: Model, genome: Genome, records: Iterable[Record], options: ScoreOptions, *, zero_based: bool = False
) -> Iterator[Scored]:
    """Return an iterator over records in their order, scored; percentiles are prepared before it begins.

    Parameters
    ----------
    model
        A model of objective ``mlm``.
    genome
        The genome that the records refer to.
    records
        Any, scored or not.
    options
        How they are scored.
    zero_based
        Whether positions count from 0.
    """
    longest = longest_allele(model, options)
    calibration = calibrate(model, genome, options) if options.calibrate else None

    def judge(block: list[Record]) -> list[tuple[Record, Site]]:
        return [(record, judge_record(record, genome, longest, zero_based=zero_based)) for record in block]

    def scored() -> Iterator[Scored]:
        left, waiting = iter(records), deque[list[tuple[Record, Site]]]()

        def blocks() -> Iterator[Block]:
            while block := list(islice(left, block_of(options))):
                waiting.append(judge(block))
                yield [site.alleles for _, site in waiting[-1]]

        for of_block in score_blocks(model, genome, blocks(), options):
            for (record, site), own in zip(waiting.popleft(), of_block, strict=True):
                scores = spread(site, own if calibration is None else calibration.added(genome, site.alleles, own))
                yield Scored(record, scores, _with_no_context(site.statuses, scores))

    return scored()


def _with_no_context(statuses: list[str], scores: Scores) -> list[str]:
    missing = np.isnan(scores.ratio)
    return ["no_context" if s == SCORED and none else s for s, none in zip(statuses, missing, strict=True)]

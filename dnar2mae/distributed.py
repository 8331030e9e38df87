"""Several processes on one run: torchrun's ranks, DDP and FSDP2. The only file that imports torch.distributed.

Sample ``i`` of the run belongs to the step ``i // batch_size`` on any number of ranks; a rank takes its share of
every batch. Gradients and losses are summed over ranks before they are divided by the global number of predicted
tokens, so a run computes the same on 1, 2 or 4 ranks. A single process needs none of this and starts no group.
"""

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from dnar2mae.config import PretrainConfig
from dnar2mae.errors import ConfigError, RunError

FORWARD_METHODS = ("masked_losses", "encode", "decoded", "logits")
"""Methods of a model that compute with its weights, besides ``forward``."""
# while one rank indexes a genome, the others must not count it as hung
_LONG = timedelta(days=7)
# for the ranks that wait for a lost one to report that they are alive
_SECONDS_TO_REPORT = 5.0


@dataclass(frozen=True, slots=True)
class Ranks:
    """The rank of this process, and the number of processes of the run."""

    rank: int = 0
    size: int = 1
    restarted: bool = False
    """Whether torchrun has started this group again after a failure."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files and prints."""
        return self.rank == 0

    def all_sum_(self, *values: Tensor) -> None:
        """Sum tensors of one shape over ranks, in place."""
        if self.size > 1:
            # one exchange for all of them, in double precision
            together = torch.stack([value.double() for value in values])
            dist.all_reduce(together)
            for value, total in zip(values, together, strict=True):
                value.copy_(total)

    def all_max(self, *numbers: int, device: torch.device) -> list[int]:
        """Return the largest of each number over ranks."""
        if self.size == 1:
            return list(numbers)
        largest = torch.tensor(numbers, device=device)
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        return largest.tolist()

    @contextmanager
    def first_on_each_node(self) -> Iterator[None]:
        """Run the block in one process of each node first, however long it takes, then in the others."""
        if self.size == 1:
            yield
            return
        # a group of its own, since the run's has the timeout after which a rank counts as hung
        group = dist.new_group(backend="gloo", timeout=_LONG)
        goes_first = os.environ.get("LOCAL_RANK", "0") == "0"
        if not goes_first:
            dist.barrier(group)
        yield
        if goes_first:
            dist.barrier(group)

    def wait(self) -> None:
        """Wait for all ranks."""
        if self.size > 1:
            dist.barrier()


ALONE = Ranks()


def local_device(name: str) -> str:
    """Return the device of this process: under torchrun ``cuda`` is the GPU of the local rank."""
    local = os.environ.get("LOCAL_RANK")
    return f"cuda:{local}" if name == "cuda" and local is not None else name


@contextmanager
def start_ranks(config: PretrainConfig, device: torch.device) -> Iterator[Ranks]:
    """Join the process group that torchrun's environment describes; a single process needs none.

    Ranks exchange by NCCL on CUDA, by gloo elsewhere. Of the configuration ``timeout_s`` is how long a collective may
    take before a rank counts as hung; ``parallel`` and ``batch_size`` are checked.

    Raises
    ------
    ConfigError
        If the batch cannot be shared by the ranks.
    RunError
        If ranks no longer answer; it names them.
    """
    size, restarts = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    if size == 1:
        yield Ranks(restarted=restarts > 0)
        return
    micro = config.micro_batch or 1
    if config.batch_size % (size * micro):
        rule = f"a multiple of {size} ranks" + (f" times --micro-batch ({micro})" if micro > 1 else "")
        raise ConfigError(f"--batch-size must be {rule}, got {config.batch_size}")
    # a caller who has started the group also ends it
    if dist.is_initialized():
        yield _agree_on_restart(Ranks(dist.get_rank(), size), restarts, device)
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    timeout = timedelta(seconds=config.timeout_s)
    store, rank, _ = next(dist.rendezvous("env://", timeout=timeout))
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        # torchrun's store outlives a group and keeps the addresses of its lost ranks: each start gets its own keys
        store = dist.PrefixStore(f"start {restarts}", store)
        if rank == 0 and int(os.environ.get("GROUP_WORLD_SIZE", "1")) > 1:
            warnings.warn(_SHARED_STORE_WARNING, stacklevel=3)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timeout)
    ranks = _agree_on_restart(Ranks(dist.get_rank(), size), restarts, device)
    try:
        yield ranks
    except RuntimeError as error:
        silent = _silent(error, ranks, store)
        if not silent:
            raise
        names = ", ".join(map(str, silent))
        raise RunError(
            f"rank {names} no longer answers: it died, or hung for --timeout-s {config.timeout_s:.0f}; start again "
            "with --resume (torchrun's --max-restarts does so by itself)"
        ) from error
    finally:
        dist.destroy_process_group()


def _agree_on_restart(ranks: Ranks, restarts: int, device: torch.device) -> Ranks:
    """Mark all ranks as restarted if one of them was: each node's torchrun counts its own restarts."""
    (most,) = ranks.all_max(restarts, device=device)
    return replace(ranks, restarted=most > 0)


def _silent(error: Exception, ranks: Ranks, store: dist.Store) -> list[int]:
    """Return the ranks that did not report, after an error of a collective; the others all report that they wait."""
    # gloo raises a plain RuntimeError, which names its source file
    if not isinstance(error, dist.DistError) and "gloo" not in str(error):
        return []
    store.set(f"waited {ranks.rank}", "")
    time.sleep(_SECONDS_TO_REPORT)
    return [rank for rank in range(ranks.size) if not store.check([f"waited {rank}"])]


_SHARED_STORE_WARNING = (
    "several nodes: export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 before torchrun, or they may not find each other again "
    "after a restart"
)


@dataclass(frozen=True, slots=True)
class Parallel:
    """A model as the training loop calls it."""

    losses: Callable[..., tuple[Tensor, Tensor]]
    """``MaskedModel.masked_losses``; gradients of its backward pass are averaged over ranks."""
    accumulate: Callable[[bool], Any]
    """Context of one micro-batch, given whether it is the step's last: under DDP only then gradients are exchanged."""


class _Losses(nn.Module):
    """The losses as a ``forward`` method: DDP synchronises gradients of calls of ``forward`` only."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *arguments: Any, **settings: Any) -> Any:
        return self.model.masked_losses(*arguments, **settings)  # type: ignore[operator]


def parallelise(model: Any, config: PretrainConfig, ranks: Ranks) -> Parallel:
    """Spread a model over the ranks.

    ``model`` is on its device; with ``--parallel fsdp`` :func:`shard` has cut it.
    """
    # FSDP exchanges gradients in every micro-batch: else each rank would keep whole ones
    if ranks.size == 1 or config.parallel == "fsdp":
        return Parallel(model.masked_losses, lambda last: nullcontext())
    from torch.nn.parallel import DistributedDataParallel

    # the encoder sees no masked tokens then, so the vector that stands for one gets no gradient
    unused = config.model.objective == "mae"
    wrapped = DistributedDataParallel(_Losses(model), find_unused_parameters=unused, gradient_as_bucket_view=True)
    if config.reduce == "bf16":
        wrapped.register_comm_hook(None, _in_bf16)
    return Parallel(wrapped, lambda last: nullcontext() if last else wrapped.no_sync())


def _in_bf16(group: Any, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    """Exchange gradients in bf16; DDP knows torch's hook by its name and refuses it on gloo."""
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook

    return bf16_compress_hook(group, bucket)


def shard(model: Any, config: PretrainConfig, device: torch.device) -> None:
    """Shard a model on the meta device by layer (FSDP2), and allocate this rank's shards."""
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    reduce = torch.bfloat16 if config.reduce == "bf16" else None
    policy = MixedPrecisionPolicy(reduce_dtype=reduce)
    for part in (model.encoder, *([model.decoder.layers] if model.decoder is not None else [])):
        for layer in part.layers:
            fully_shard(layer, mp_policy=policy)
    fully_shard(model, mp_policy=policy)
    for name in FORWARD_METHODS:
        register_fsdp_forward_method(model, name)
    model.to_empty(device=device)
    for part in model.modules():
        # buffers are computed, not learned: no checkpoint has their values, which the meta device has not, either
        if hasattr(part, "reset_buffers"):
            part.reset_buffers()


def copy_into(target: Tensor, value: Tensor) -> None:
    """Copy a whole tensor, or this rank's shard of it, into a parameter."""
    with torch.no_grad():
        local_shard(target).copy_(local_shard(shard_like(target, value)))


def shard_like(target: Any, value: Tensor) -> Tensor:
    """Return ``value``, a whole tensor on every rank, on the device of ``target`` and sharded like it."""
    value = value.to(target.device)
    if not _is_shard(target):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value, target.device_mesh, target.placements, src_data_rank=None)


def full_tensor(tensor: Any) -> Tensor:
    """Return the whole tensor that the ranks' shards make up; every rank must call this."""
    return tensor.full_tensor() if _is_shard(tensor) else tensor


def local_shard(tensor: Any) -> Tensor:
    """Return this rank's part of a tensor, in the same memory."""
    return tensor.to_local() if _is_shard(tensor) else tensor


def _is_shard(tensor: Tensor) -> bool:
    return hasattr(tensor, "full_tensor")

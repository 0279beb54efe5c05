"""Several ranks of torch.distributed that teach one editor: each holds all of it (DDP), or a share (FSDP2).

Both give each rank the mean of all ranks' gradients. All ranks must do the same work in the same order: whoever has no
examples takes part with `trainer.step.nothing`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from trainer.step import Trained


@dataclass(frozen=True, slots=True)
class Parallel:
    """rank: this process's, of `ranks`; several are a process group that there is already. sharded: a rank holds a
    share of weights, gradients, averages and the optimizer's state, and has a block whole when its turn comes."""

    rank: int = 0
    ranks: int = 1
    sharded: bool = False

    def wrapped(self, model: Trained) -> nn.Module:
        """To be called before the optimizer is made: sharding puts other parameters into `model`."""
        if self.ranks == 1:
            return model
        if not self.sharded:
            return DistributedDataParallel(model)
        for value in model.parameters():  # all begin as the first, as with DDP
            dist.broadcast(value.data, 0)
        unet, mesh = model.editor.unet, init_device_mesh(_device(model).type, (self.ranks,))
        for block in (*unet.down_blocks, unet.mid_block, *unet.up_blocks):
            if block is not None:
                fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
        return model

    def summed(self, value: Tensor, device: torch.device) -> Tensor:
        """Over all ranks. device: one that the process group can send from."""
        if self.ranks == 1:
            return value
        there = value.detach().to(device, copy=True)
        dist.all_reduce(there)
        return there.to(value.device)

    def whole(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """On the first rank `values`, what is sharded put together on the CPU; on the others, which must take part,
        nothing."""
        found: dict[str, Tensor] = {}
        for name, value in values.items():
            full = value.detach()
            if isinstance(full, DTensor):
                full = full.full_tensor()
                full = full.cpu() if self.rank == 0 else full
            if self.rank == 0:
                found[name] = full
        return found


def fitted(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor as `like` is: in its shape, on its device, and of a sharded one this rank's share."""
    there = value.to(like.device).reshape(like.shape)
    if not isinstance(like, DTensor):
        return there
    return distribute_tensor(there, like.device_mesh, like.placements, src_data_rank=None)


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device

"""Data-parallel training: the same command under `torchrun`, on cores or on GPUs.

Each process takes its slice of every batch; gradients are averaged before the optimiser's step. Two
processes of one thread each use two cores better than one process of two threads.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class DeviceError(RuntimeError):
    """The device asked for is not there; the message says what to do."""


CPU = torch.device("cpu")


@dataclass(frozen=True)
class Ranks:
    """This process's number among all, and how many there are."""

    rank: int = 0
    world: int = 1
    device: torch.device = CPU

    @property
    def first(self) -> bool:
        """Whether this process writes checkpoints and logs."""
        return self.rank == 0


def start(kind: str = "cpu") -> Ranks:
    """Joins the processes that torchrun started, or stays alone.

    Args:
        kind: "cpu" or "cuda"; each process of a machine takes a GPU of its own.

    Raises:
        DeviceError: "cuda" where torch sees no GPU, or fewer than processes.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = CPU
    if kind == "cuda":
        seen = torch.cuda.device_count()
        if local >= seen:
            raise DeviceError(
                f"--device cuda: process {local} of this machine needs a GPU of its own and torch "
                f"sees {seen}; run it with --device cpu, or install torch for CUDA "
                "(TORCH_INDEX in `make help`)"
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    if world == 1:
        return Ranks(device=device)
    # One process may teach a trunk for long while the others wait for it.
    dist.init_process_group("nccl" if kind == "cuda" else "gloo", timeout=timedelta(hours=4))
    return Ranks(dist.get_rank(), world, device)


def computes_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 beats float32 there; a CPU that lacks it emulates it, 8 times slower."""
    if device.type != "cpu":
        return True
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def moved(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """A batch with its tensors on `device`; the rest as it is."""
    return {
        key: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for key, value in batch.items()
    }


def average_gradients(parameters: Iterable[nn.Parameter], ranks: Ranks) -> None:
    """The mean of all processes' gradients, in place; one transfer for all of them."""
    if ranks.world == 1:
        return
    chosen = list(parameters)
    # A parameter that one process's batch did not reach still takes part, or the shapes differ.
    parts = [p.grad if p.grad is not None else torch.zeros_like(p) for p in chosen]
    flat = torch.cat([part.reshape(-1) for part in parts])
    dist.all_reduce(flat)
    flat /= ranks.world
    place = 0
    for parameter, part in zip(chosen, parts, strict=True):
        part.copy_(flat[place : place + part.numel()].view_as(part))
        parameter.grad = part
        place += part.numel()


def share_buffers(modules: Iterable[nn.Module], ranks: Ranks) -> None:
    """The mean of all processes' running statistics, in place."""
    if ranks.world == 1:
        return
    for module in modules:
        if isinstance(module, nn.BatchNorm2d):
            for value in (module.running_mean, module.running_var):
                assert isinstance(value, Tensor)
                dist.all_reduce(value)
                value /= ranks.world


def send(parameters: Iterable[nn.Parameter], source: int, ranks: Ranks) -> None:
    """Gives every process those of process `source`, in place."""
    if ranks.world == 1:
        return
    for parameter in parameters:
        value = parameter.detach().contiguous()
        dist.broadcast(value, source)
        parameter.data.copy_(value)


def any_of(value: bool, ranks: Ranks) -> bool:
    """Whether it is true in any process."""
    if ranks.world == 1:
        return value
    flag = torch.tensor(float(value), device=ranks.device)
    dist.all_reduce(flag)
    return bool(flag > 0)


def stop(ranks: Ranks) -> None:
    """Leaves the group."""
    if ranks.world > 1:
        dist.destroy_process_group()

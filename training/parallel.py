"""Data-parallel training: the same command under `torchrun`, on cores or on GPUs' hosts.

Each process takes its slice of every batch; gradients are averaged before the optimiser's step. Two
processes of one thread each use two cores better than one process of two threads.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Ranks:
    """This process's number among all, and how many there are."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes checkpoints and logs."""
        return self.rank == 0


def start() -> Ranks:
    """Joins the processes that torchrun started, or stays alone."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Ranks()
    dist.init_process_group("gloo")
    return Ranks(dist.get_rank(), world)


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


def any_of(value: bool, ranks: Ranks) -> bool:
    """Whether it is true in any process."""
    if ranks.world == 1:
        return value
    flag = torch.tensor(float(value))
    dist.all_reduce(flag)
    return bool(flag > 0)


def stop(ranks: Ranks) -> None:
    """Leaves the group."""
    if ranks.world > 1:
        dist.destroy_process_group()

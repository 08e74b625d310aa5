"""The peers of a run, started: each in the ways that its threads may be laid out."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chain import served_chain
from benchmarks.inputs import Inputs
from benchmarks.peers.catalogue import PEERS
from benchmarks.peers.processes import Answer, installed, process


@dataclass(frozen=True)
class Peer:
    """A way of serving, ready to be called from any number of threads.

    `process` is its server's process ID, None for a peer in this process.
    """

    name: str
    title: str
    call: Callable[[Inputs], Answer]
    process: int | None = None


def layouts(name: str, cores: int) -> list[tuple[int, int]]:
    """(workers, threads in each) in which a peer is measured: one request on all cores, and each
    request on a core of its own. The better of them counts, at every load anew."""
    if cores == 1:
        return [(1, 1)]
    return [(1, cores), (cores if PEERS[name].needs else 1, 1)]


@contextlib.contextmanager
def opened(names: Sequence[str], repository: Path, cores: int) -> Iterator[list[Peer]]:
    """All of these that are installed; of the others a line on stderr.

    Args:
        names: of `PEERS`.
        repository: of target `cpu`, whose ONNX files they run.
        cores: to lay their threads out for.

    Raises benchmarks.peers.processes.PeerError where one does not start.
    """
    peers = []
    with contextlib.ExitStack() as stack:
        for name in names:
            entry = PEERS[name]
            if entry.needs and not installed(entry.needs):
                print(f"peer {name} is left out: {entry.needs} is not installed: run `make peers`",
                      file=sys.stderr)  # fmt: skip
                continue
            for workers, threads in layouts(name, cores):
                print(f"starting peer {name}, {workers} x {threads} threads", file=sys.stderr)
                title = f"{entry.title}, {workers}x{threads}"
                if entry.needs:
                    call, pid = stack.enter_context(process(name, repository, workers, threads))
                    peers.append(Peer(f"{name} {workers}x{threads}", title, call, pid))
                    continue
                peers.append(
                    Peer(f"{name} {workers}x{threads}", title, _here(name, repository, threads))
                )
        yield peers


def _here(name: str, repository: Path, threads: int) -> Callable[[Inputs], Answer]:
    if name == "onnxruntime":
        return served_chain(repository, threads).try_on
    from benchmarks.peers.in_process import torch_peer

    return torch_peer(threads, compiled=name == "torch_compile")

"""Processes that share a training: what one has, all have."""

from __future__ import annotations

import os
import subprocess
import sys

CODE = """
import sys, torch
from training import parallel
ranks = parallel.start()
one = torch.nn.Conv2d(4, 3, 3).to(memory_format=torch.channels_last)
torch.nn.init.constant_(one.weight, float(ranks.rank))
one.weight.data[0, 1] = 10.0 * ranks.rank + torch.arange(9.0).reshape(3, 3)
parallel.send(one.parameters(), 1, ranks)
expected = torch.ones(3, 4, 3, 3)
expected[0, 1] = 10.0 + torch.arange(9.0).reshape(3, 3)
assert torch.equal(one.weight, expected), one.weight
assert one.weight.is_contiguous(memory_format=torch.channels_last)
parallel.stop(ranks)
"""


def test_parameters_are_sent_to_every_process() -> None:
    from torch.distributed.elastic.utils.distributed import get_free_port

    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(get_free_port()),
              "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}  # fmt: skip
    both = [
        subprocess.Popen([sys.executable, "-c", CODE], env={**shared, "RANK": r, "LOCAL_RANK": r})
        for r in ("0", "1")
    ]
    assert [process.wait(120) for process in both] == [0, 0]

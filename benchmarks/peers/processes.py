"""Peers that are servers: processes of their own, run from the peers' environment."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np

from benchmarks.inputs import Inputs, tensors
from benchmarks.machine import ROOT
from benchmarks.peers.frame import pack, unpack
from benchmarks.server import Server

ENVIRONMENT = ROOT / ".venv-peers"
START_TIMEOUT, STOP_TIMEOUT = 300.0, 10.0
ATTEMPTS = 3
"""PyTriton gives up when a busy machine keeps its own parts waiting for each other."""
IDLE = 2.0
"""Seconds after which a connection is opened anew: uvicorn closes those that are idle for five, and
while others have their turn nothing is sent."""
Answer = tuple[np.ndarray, np.ndarray, float]


class PeerError(RuntimeError):
    """A peer can't run; the message names it, and what to do."""


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 on which nobody listens, all different."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def installed(module: str, environment: Path = ENVIRONMENT) -> bool:
    """Whether the peers' environment holds a module."""
    return any(environment.glob(f"lib/python3*/site-packages/{module}/__init__.py"))


@contextlib.contextmanager
def process(
    name: str, repository: Path, workers: int, threads: int
) -> Iterator[tuple[Callable[[Inputs], Answer], int]]:
    """A peer's server: how to call it, from any number of threads, and its process ID.

    Args:
        name: "fastapi", "litserve" or "pytriton".
        repository: of target `cpu`, whose ONNX files it runs.
        workers, threads: processes (PyTriton: instances), and ONNX Runtime's threads in each.

    Raises PeerError where it does not start.
    """
    (port,) = free_ports(1)
    command = [
        str(ENVIRONMENT / "bin" / "python"), "-m", f"benchmarks.peers.serve_{name}",
        "--repository", str(repository.resolve()), "--port", str(port),
        "--workers", str(workers), "--threads", str(threads),
    ]  # fmt: skip
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / "client")]))
    # As our server's steps: threads inside numpy would only fight for the same cores.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environment[variable] = "1"
    environment["TOKENIZERS_PARALLELISM"] = "false"
    library = Path(sysconfig.get_config_var("LIBDIR") or "")
    if (library / str(sysconfig.get_config_var("INSTSONAME"))).is_file():
        # As in `deploy.embedded`: Triton's stub takes this very Python's library.
        environment["LD_LIBRARY_PATH"] = str(library)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tryon-peer-")))
        environment["PYTRITON_HOME"] = str(folder)
        for attempt in range(ATTEMPTS):
            running, problem = _started(name, command, port, folder, environment)
            if not problem:
                break
            _end(running)
            if attempt == ATTEMPTS - 1:
                raise PeerError(f"peer {name} does not start: {problem}")
        stack.callback(_end, running)
        call = _over_grpc(port, stack) if name == "pytriton" else _over_http(port, name)
        yield call, running.pid


def _started(
    name: str, command: list[str], port: int, folder: Path, environment: dict[str, str]
) -> tuple[subprocess.Popen[bytes], str]:
    """A server once it is ready, and nothing; or why it is not."""
    log = folder / "log"
    with log.open("wb") as sink:
        running = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=sink,
            stderr=sink, start_new_session=True,
        )  # fmt: skip
    ready = _grpc_ready(port) if name == "pytriton" else _http_ready(port)
    end = time.monotonic() + START_TIMEOUT
    while not ready():
        late = time.monotonic() > end
        if late or running.poll() is not None:
            return running, complaint(log.read_text(errors="replace")) or (
                f"not ready within {START_TIMEOUT:.0f} s" if late else "it ended and wrote nothing"
            )
        time.sleep(0.2)
    return running, ""


def complaint(said: str) -> str:
    """The last line of a log that names an error, or its last line; "" of an empty one."""
    lines = [line.strip() for line in said.splitlines() if line.strip(" ;")]
    named = [line for line in lines if "Error" in line]
    return (named or lines or [""])[-1][:200]


def _end(running: subprocess.Popen[bytes]) -> None:
    """Ends a server and its workers."""
    for number, patience in ((signal.SIGINT, STOP_TIMEOUT), (signal.SIGKILL, STOP_TIMEOUT)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(patience)
    if running.stdin:
        running.stdin.close()


def _http_ready(port: int) -> Callable[[], bool]:
    def ready() -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        return False

    return ready


def _grpc_ready(port: int) -> Callable[[], bool]:
    server = Server(f"127.0.0.1:{port}")

    def ready() -> bool:
        with contextlib.suppress(grpc.RpcError):
            if server.ready():
                server.close()
                return True
        return False

    return ready


def _over_grpc(port: int, stack: contextlib.ExitStack) -> Callable[[Inputs], Answer]:
    server = Server(f"127.0.0.1:{port}")
    stack.callback(server.close)
    return server.try_on


def _over_http(port: int, name: str) -> Callable[[Inputs], Answer]:
    """Calls over a connection that each thread keeps open."""
    own = threading.local()

    def call(inputs: Inputs) -> Answer:
        body, kind = pack(tensors(inputs)), "application/octet-stream"
        if name == "litserve":
            body = json.dumps({"tensors": base64.b64encode(body).decode()}).encode()
            kind = "application/json"
        if time.monotonic() - getattr(own, "last", -IDLE) >= IDLE:
            own.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            own.connection.request("POST", "/predict", body, {"Content-Type": kind})
            response = own.connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            own.last = -IDLE
            raise PeerError(f"peer {name} does not answer: {error}") from None
        own.last = time.monotonic()
        if response.status != 200:
            raise PeerError(f"peer {name} answers {response.status}: {data[:200]!r}")
        made = unpack(data)
        return made["picture"][0], made["mask"][0], float(made["confidence"][0, 0])

    return call

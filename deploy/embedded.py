"""A real Triton server on this machine: no Docker, no GPU.

    python -m deploy.embedded        in the foreground, on ports 8000 (HTTP), 8001 (gRPC), 8002

    with EmbeddedServer() as server:                        # on free ports
        TryOnClient(server.grpc_url).try_on(...)

The server is the tritonserver binary of the PyPI wheel nvidia-pytriton, with its Python backend;
every step is a process of its own, started by the server and gone with it.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO

from tryon.steps.under_way import VARIABLE as UNDER_WAY

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = ROOT / "model_repository" / "cpu"
PORTS = {"http": 8000, "grpc": 8001, "metrics": 8002}
SHARED_MEMORY = 16 * 2**20
"""Shared memory that each step starts with; it grows by as much when pictures need more."""
START_TIMEOUT, STOP_TIMEOUT = 90.0, 15.0
_GUARD = """
read ended
kill -INT "-$1" 2>/dev/null
for second in 1 2 3 4 5 6 7 8; do
    sleep 1
    kill -0 "-$1" 2>/dev/null || break
done
kill -KILL "-$1" 2>/dev/null
rm -f /dev/shm/"$2"*
"""
"""Waits for the end of this process (its end of the pipe closes), then ends the server's group and
clears what it left. A signal at the parent's death would not do: a tritonserver with a stuck
request outlives it, and its steps' processes never get one."""


class ServerError(RuntimeError):
    """The server can't be started; the message says why and what to do."""


class EmbeddedServer:
    """A Triton server process. A context manager: started inside, gone after.

    Args:
        repository: an exported model repository; None: `model_repository/cpu`.
        http_port, grpc_port, metrics_port: None: any free one.
        host: the address that it listens on.
        log: file that takes what the server writes; None: a temporary one.
        verbose: the server writes to this process's stderr instead.
        wardrobe: where garments are kept, a folder or redis://host:port/0; None: where
            TRYON_WARDROBE says, else `.cache/wardrobe`.

    Attributes:
        http_port, grpc_port, metrics_port: where it listens, once started.
    """

    def __init__(
        self,
        repository: Path | None = None,
        *,
        http_port: int | None = None,
        grpc_port: int | None = None,
        metrics_port: int | None = None,
        host: str = "127.0.0.1",
        log: Path | None = None,
        verbose: bool = False,
        wardrobe: str | None = None,
    ) -> None:
        self.repository = Path(repository or REPOSITORY)
        self.host = host
        self._wanted = {"http": http_port, "grpc": grpc_port, "metrics": metrics_port}
        self._ports = dict.fromkeys(PORTS, 0)
        self._log_file = log
        self._verbose = verbose
        self._wardrobe = wardrobe
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._prefix = ""
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.log = Path(os.devnull)

    @property
    def http_port(self) -> int:
        """Port of the HTTP service."""
        return self._ports["http"]

    @property
    def grpc_port(self) -> int:
        """Port of the gRPC service."""
        return self._ports["grpc"]

    @property
    def metrics_port(self) -> int:
        """Port of the Prometheus metrics."""
        return self._ports["metrics"]

    @property
    def grpc_url(self) -> str:
        """What clients connect to."""
        return f"{self._local}:{self.grpc_port}"

    @property
    def pid(self) -> int | None:
        """The server's process, or None when it isn't running."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if running and self._process else None

    @property
    def _local(self) -> str:
        return "127.0.0.1" if self.host in ("0.0.0.0", "") else self.host

    def start(self) -> EmbeddedServer:
        """Starts the server and waits until it serves.

        Raises:
            ServerError: not exported, a port is busy, or the server ends or stays unready.
        """
        if self.pid is not None:
            return self
        check_repository(self.repository)
        check_shared_memory()
        binary, environment = _triton(), _environment()
        if self._wardrobe is not None:
            environment["TRYON_WARDROBE"] = self._wardrobe
        self._folder = tempfile.TemporaryDirectory(prefix="tryon-server-")
        self.log = self._log_file or Path(self._folder.name) / "server.log"
        automatic = not any(self._wanted.values())
        try:
            for attempt in range(3):
                self._choose_ports()
                try:
                    self._launch(binary, environment)
                    self._wait_until_ready()
                    return self
                except ServerError:
                    # Between choosing a free port and taking it another process may have come.
                    lost = "Address already in use" in self._said() or "bind" in self._said()
                    if attempt == 2 or not automatic or not lost:
                        raise
                    self._end()
        except BaseException:
            self.stop()
            raise
        return self

    def _choose_ports(self) -> None:
        with contextlib.ExitStack() as held:  # all at once, so that no two are the same
            for service, port in self._wanted.items():
                free = held.enter_context(socket.socket())
                free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    free.bind((self.host, port or 0))
                except OSError as error:
                    raise ServerError(_port_error(service, port or 0, self.host, error)) from None
                self._ports[service] = free.getsockname()[1]

    def _launch(self, binary: Path, environment: dict[str, str]) -> None:
        assert self._folder is not None
        self._prefix = f"tryon_{os.getpid()}_{self.grpc_port}_"
        environment = {**environment, UNDER_WAY: f"/dev/shm/{self._prefix}under_way"}
        backend = (
            f"shm-default-byte-size={SHARED_MEMORY}",
            f"shm-growth-byte-size={SHARED_MEMORY}",
            f"shm-region-prefix-name={self._prefix}",
            "stub-timeout-seconds=60",
        )
        command = [
            str(binary),
            f"--model-repository={self.repository}",
            f"--backend-directory={binary.parent.parent / 'backends'}",
            "--disable-auto-complete-config",  # configurations are whole; saves starting all twice
            f"--http-address={self.host}", f"--http-port={self.http_port}",
            f"--grpc-address={self.host}", f"--grpc-port={self.grpc_port}",
            f"--metrics-address={self.host}", f"--metrics-port={self.metrics_port}",
            "--allow-gpu-metrics=false",
            "--pinned-memory-pool-byte-size=0",
            "--model-load-thread-count=4",
            "--exit-timeout-secs=5",
            *(f"--backend-config=python,{setting}" for setting in backend),
        ]  # fmt: skip
        with contextlib.ExitStack() as stack:
            sink = None if self._verbose else stack.enter_context(self._open_log())
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=2 if self._verbose else sink,
                stderr=2 if self._verbose else sink,
                # A group of its own: Ctrl-C reaches it through stop(), once.
                start_new_session=True,
            )
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "tryon-guard", str(self._process.pid), self._prefix],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _open_log(self) -> IO[bytes]:
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            return self.log.open("wb")
        except OSError as error:
            raise ServerError(f"{self.log}: {error.strerror}: name another log file") from None

    def _wait_until_ready(self) -> None:
        url = f"http://{self._local}:{self.http_port}/v2/health/ready"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            assert self._process is not None
            if self._process.poll() is not None:
                raise ServerError(
                    f"the server ended with status {self._process.returncode} while starting:\n"
                    + self._complaint()
                )
            with contextlib.suppress(OSError), opener.open(url, timeout=2) as answer:
                if answer.status == 200:
                    return
            time.sleep(0.05)
        raise ServerError(
            f"the server was not ready within {START_TIMEOUT:.0f} s:\n" + self._complaint()
        )

    def _said(self) -> str:
        with contextlib.suppress(OSError):
            return self.log.read_text(errors="replace")
        return ""

    def _complaint(self) -> str:
        """The lines of the log that say what went wrong."""
        lines = self._said().splitlines()
        bad = [
            line
            for line in lines
            if (line[:1] == "E" or "rror" in line) and "CudaDriver" not in line
        ]
        return "\n".join(bad[:8] or lines[-15:]) or "(it wrote nothing)"

    def stop(self) -> None:
        """Ends the server: it finishes requests under way, then all its processes are gone."""
        self._end()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                _wait_until_unloaded(process)
            # The steps' processes share its group; those of a server that was killed live on.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        guard, self._guard = self._guard, None
        if guard is not None and guard.stdin is not None:
            guard.kill()
            guard.stdin.close()
            guard.wait()
        if self._prefix:
            for left in Path("/dev/shm").glob(self._prefix + "*"):
                left.unlink(missing_ok=True)

    def restart(self) -> EmbeddedServer:
        """Clears up what is left of it, and starts it on the ports that it had. Raises as start."""
        self.stop()
        if self.grpc_port:
            self._wanted = dict(self._ports)
        return self.start()

    def wait(self) -> int:
        """Waits until the server ends; answers its exit status."""
        return self._process.wait() if self._process else 0

    def __enter__(self) -> EmbeddedServer:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _wait_until_unloaded(process: subprocess.Popen[bytes]) -> None:
    """Waits until a server that was told to end has ended all its steps, or has ended itself.

    Once the steps' processes are gone, all requests are answered; gRPC's own clearing up then takes
    ten seconds on some machines, and nothing depends on it.
    """
    end, empty = time.monotonic() + STOP_TIMEOUT, 0
    while process.poll() is None and time.monotonic() < end:
        lists = list(Path(f"/proc/{process.pid}/task").glob("*/children"))
        children: list[str] = []
        for path in lists:
            with contextlib.suppress(OSError):  # the thread has ended meanwhile
                children += path.read_text().split()
        # The lists are read while threads come and go: one look may miss a process.
        empty = empty + 1 if lists and not children else 0
        if empty == 3:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1.0)
            return
        time.sleep(0.05)


def check_repository(repository: Path) -> None:
    """Raises ServerError unless `repository` was exported by this version."""
    from export.repository import STAMP
    from tryon.contract import ENSEMBLE

    if not (repository / ENSEMBLE / "config.pbtxt").is_file() or not (repository / STAMP).is_file():
        raise ServerError(f"{repository} holds no exported models: run `make export`")


def check_shared_memory() -> None:
    """Raises ServerError where the steps could not exchange pictures."""
    from tryon.contract import SERVED

    needed = (len(SERVED) + 2) * SHARED_MEMORY
    with contextlib.suppress(OSError):
        free = shutil.disk_usage("/dev/shm").free
        if free < needed:
            raise ServerError(
                f"/dev/shm has {free >> 20} MiB free, the server needs {needed >> 20}: in a "
                "container, start it with `--shm-size=1g`; else `mount -o remount,size=1g /dev/shm`"
            )


def _triton() -> Path:
    """The tritonserver binary."""
    from tryon.assets import AssetError, asset_path

    try:
        folder = asset_path("triton")
    except AssetError as error:
        raise ServerError(str(error)) from None
    return folder / "pytriton" / "tritonserver" / "bin" / "tritonserver"


def _environment() -> dict[str, str]:
    """Environment in which the server, and the Python steps it starts, find their libraries."""
    paths = sysconfig.get_paths()
    libraries = [str(_triton().parents[3] / "nvidia_pytriton.libs")]
    environment = dict(os.environ)
    own = Path(sysconfig.get_config_var("LIBDIR") or "")
    if (own / str(sysconfig.get_config_var("INSTSONAME"))).is_file():
        # This very Python's library rather than the system's, with its own standard library.
        libraries.append(str(own))
        environment["PYTHONHOME"] = sys.base_prefix
    packages = dict.fromkeys([str(ROOT), paths["purelib"], paths["platlib"]])
    environment["PYTHONPATH"] = os.pathsep.join(packages)
    # The stub starts an isolated interpreter, which may not look at PYTHONPATH: it takes the
    # packages of the first `python3` on the path, so that has to be this environment's.
    own_bin = str(Path(sys.executable).parent)
    environment["PATH"] = os.pathsep.join([own_bin, environment.get("PATH", os.defpath)])
    environment["LD_LIBRARY_PATH"] = os.pathsep.join(libraries)
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    # Steps are processes: threads inside their arithmetic would only fight for the same cores.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environment[name] = "1"
    environment["TOKENIZERS_PARALLELISM"] = "false"
    # Tensors of a few hundred kB come and go with every request: keep their memory, instead of
    # handing it back to the kernel and faulting it in again page by page.
    environment.setdefault("MALLOC_MMAP_THRESHOLD_", str(32 * 2**20))
    environment.setdefault("MALLOC_TRIM_THRESHOLD_", str(512 * 2**20))
    return environment


def _port_error(service: str, port: int, host: str, error: OSError) -> str:
    flag = f"--{service}-port"
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} ({service}) is in use: stop what listens there, or choose another one "
            f"with `python -m deploy.embedded {flag} PORT`"
        )
    if error.errno == errno.EACCES:
        return f"port {port} ({service}) needs root: choose one above 1023 with `{flag} PORT`"
    return f"{host}, port {port} ({service}): {error.strerror}: choose others: --host, {flag}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.embedded",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for service, port in PORTS.items():
        parser.add_argument(f"--{service}-port", type=int, default=port, metavar="PORT",
                            help=f"{service} (%(default)s)")  # fmt: skip
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--repository", type=Path, default=REPOSITORY, metavar="FOLDER")
    parser.add_argument("--log", type=Path, default=ROOT / "out" / "server.log", metavar="FILE")
    parser.add_argument("--wardrobe", metavar="PLACE", help="where garments are kept: a folder, or "
                        "redis://host:port/0 (TRYON_WARDROBE, else .cache/wardrobe)")  # fmt: skip
    parser.add_argument("--verbose", action="store_true", help="the server's own words here")
    options = parser.parse_args(arguments)
    for service in PORTS:
        if not 0 < getattr(options, f"{service}_port") < 65536:
            parser.error(f"--{service}-port: a port lies in 1..65535")
    server = EmbeddedServer(
        options.repository, http_port=options.http_port, grpc_port=options.grpc_port,
        metrics_port=options.metrics_port, host=options.host, log=options.log,
        verbose=options.verbose, wardrobe=options.wardrobe,
    )  # fmt: skip
    ending = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        if not ending.is_set():
            ending.set()
            raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    start = time.monotonic()
    try:
        server.start()
        where = "stderr" if options.verbose else str(options.log)
        print(
            f"serving after {time.monotonic() - start:.0f} s: gRPC {server.grpc_url}, HTTP "
            f"{options.http_port}, metrics {options.metrics_port}; log: {where}\nCtrl-C stops it",
            flush=True,
        )
        status = server.wait()
        print(f"error: the server ended by itself with status {status}; its log: {where}",
              file=sys.stderr)  # fmt: skip
        return 1
    except ServerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopping", flush=True)
        return 0
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main())

"""`python -m benchmarks.peers.install`: the peers' environment, .venv-peers.

It sees the project's own packages (the one ONNX Runtime, so that all run the same), and adds what
the peers need: PyTriton's wheel of 55 MB, and small ones.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

from benchmarks.peers.processes import ENVIRONMENT

REQUIREMENTS = Path(__file__).resolve().parent / "requirements.txt"
LINK = "tryon-environment.pth"


def main() -> int:
    """Makes it, or completes it; the exit status."""
    python = ENVIRONMENT / "bin" / "python"
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        (packages,) = ENVIRONMENT.glob("lib/python3*/site-packages")
        (packages / LINK).write_text(sysconfig.get_path("purelib") + "\n")
        # Pinned each, and what they share with the project is there already.
        subprocess.run(
            [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input",
             "--quiet", "--no-deps", "--requirement", str(REQUIREMENTS)],
            check=True,
        )  # fmt: skip
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        print(f"error: the peers could not be installed into {ENVIRONMENT}: {error}; run `make "
              "peers` again", file=sys.stderr)  # fmt: skip
        return 1
    print(f"peers: ready in {ENVIRONMENT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

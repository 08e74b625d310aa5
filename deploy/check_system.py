"""Checks the system libraries that pip cannot bring, and names the command that installs them.

    python deploy/check_system.py [serve] [render] [browser] [redis] [--install]

`serve` is what the embedded server needs, `render` what rendering pairs needs; these two if none is
named. `browser` is what the tests of the mirror's page need, `redis` what those of the wardrobe
need that several servers share, and nothing else. With --install,
missing packages are installed when running as root where apt-get is there.
Standard library only.
"""

from __future__ import annotations

import argparse
import ctypes
import glob
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Need:
    """A library or program: is it there, and the Debian or Ubuntu package that brings it."""

    what: str
    package: str
    used_for: str
    there: Callable[[], bool]


def _loads(name: str) -> bool:
    """Whether the dynamic linker (or this Python's own library folder) has it."""
    for path in (name, os.path.join(sysconfig.get_config_var("LIBDIR") or "", name)):
        try:
            ctypes.CDLL(path)
        except OSError:
            continue
        return True
    return False


def _mesa() -> bool:
    """Whether Mesa's software renderer is there; it is loaded by EGL, not by its name."""
    folders = ("/usr/lib/*/dri", "/usr/lib/dri", "/usr/lib64/dri")
    return any(glob.glob(f"{folder}/swrast_dri.so") for folder in folders)


NEEDS: tuple[Need, ...] = (
    Need("libpython3.11.so.1.0", "libpython3.11", "serve", lambda: _loads("libpython3.11.so.1.0")),
    Need("libstdc++.so.6", "libstdc++6", "serve", lambda: _loads("libstdc++.so.6")),
    Need("libz.so.1", "zlib1g", "serve", lambda: _loads("libz.so.1")),
    Need("libEGL.so.1", "libegl1", "render", lambda: _loads("libEGL.so.1")),
    Need("libGL.so.1", "libgl1", "render", lambda: _loads("libGL.so.1")),
    Need("Mesa's swrast_dri.so", "libgl1-mesa-dri", "render", _mesa),
    Need("chromium", "chromium", "browser", lambda: shutil.which("chromium") is not None),
    Need("chromedriver", "chromium-driver", "browser",
         lambda: shutil.which("chromedriver") is not None),
    # The server's own program by another name; the package redis-server would start a service.
    Need("redis-check-rdb", "redis-tools", "redis",
         lambda: shutil.which("redis-check-rdb") is not None),
)  # fmt: skip
USES, USUAL = {"serve", "render", "browser", "redis"}, {"serve", "render"}


def missing(used_for: set[str], needs: tuple[Need, ...] = NEEDS) -> list[Need]:
    """The needs of these uses that are not met."""
    return [need for need in needs if need.used_for in used_for and not need.there()]


def install_command(needs: list[Need]) -> list[str]:
    """The command that installs them."""
    return ["apt-get", "install", "-y", "--no-install-recommends", *(n.package for n in needs)]


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0 if nothing is missing (any more)."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("uses", nargs="*", metavar="USE",
                        help="serve, render, browser, redis; serve and render if none")  # fmt: skip
    parser.add_argument("--install", action="store_true", help="install them, where root may")
    options = parser.parse_args(arguments)
    uses = set(options.uses) or USUAL
    if not uses <= USES:
        other = ", ".join(sorted(uses - USES))
        parser.error(f"USE is one of {', '.join(sorted(USES))}, not {other}")
    lacking = missing(uses)
    if lacking and options.install and os.geteuid() == 0 and shutil.which("apt-get"):
        names = ", ".join(n.package for n in lacking)
        print(f"system: installing {names} (missing: {', '.join(n.what for n in lacking)})",
              flush=True)  # fmt: skip
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "update", "-qq"], [*install_command(lacking), "-qq"]):
            subprocess.run(command, env=quiet, stdout=subprocess.DEVNULL, check=False)
        lacking = missing(uses)
    for need in lacking:
        print(f"error: {need.what} is missing ({need.used_for})", file=sys.stderr)
    if lacking:
        sudo = "" if os.geteuid() == 0 else "sudo "
        print(f"Run: {sudo}{' '.join(install_command(lacking))}", file=sys.stderr)
        print("(Debian and Ubuntu names; other systems have the same libraries under their own.)",
              file=sys.stderr)  # fmt: skip
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

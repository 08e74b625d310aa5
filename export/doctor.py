"""`python -m export.doctor`: whether what was exported still fits what it was made from.

    python -m export.doctor                       every repository that there is
    python -m export.doctor --audit               and how much of each engine computes in fp16

Exit status 1 where something differs; each line says what, and the command that mends it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from export import audit, engines, lock
from export.engine import EngineError, Options
from export.repository import REPOSITORIES, STAMP, is_current, source_hashes


def examine(repository: Path) -> list[str]:
    """What is wrong with a repository, a line each."""
    target = repository.name
    try:
        then: dict[str, str] = json.loads((repository / STAMP).read_text())["sources"]
    except (OSError, ValueError, KeyError):
        then = {}
    hashes = source_hashes() | {k: v for k, v in then.items() if k == "engines"}
    wrong = []
    if not is_current(repository, hashes):
        wrong = [f"{k} was {then.get(k)}, is {v}" for k, v in hashes.items() if then.get(k) != v]
        wrong = wrong or ["files are missing or of another size"]
    again = f"make export TARGET={target}"
    if (repository / lock.LOCK).is_file():
        sm, options = locked(repository)
        again += f" SM={sm}" if target == "tensorrt_rtx" else ""
        again += " PRECISION=int8" * engines.wants_int8(hashes)
        again += f' ARGS="{" ".join(options.asked())}"' if options.asked() else ""
        try:
            wrong += lock.check(repository, engines.facts(target, sm, hashes, options))
        except EngineError as error:
            wrong.append(str(error))
    elif target == "tensorrt":  # the container builds the engines
        again += " ONNX_ONLY=1"
    return [f"{repository}: {line}; run `{again}`" for line in dict.fromkeys(wrong)]


def locked(repository: Path) -> tuple[str, Options]:
    """The compute capability and the builder's options of a lock, so that both can be asked again.

    What is missing or damaged there is as by default; `lock.check` says so.
    """
    try:
        known = json.loads((repository / lock.LOCK).read_text())
        return str(known["compute_capability"]), Options(**known["options"])
    except (OSError, ValueError, KeyError, TypeError):
        return "89", Options()


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m export.doctor", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--repository", type=Path, default=REPOSITORIES, metavar="FOLDER",
                        help="where the targets' folders lie (%(default)s)")  # fmt: skip
    parser.add_argument("--audit", action="store_true", help="the engines' precision too")
    options = parser.parse_args(arguments)
    exported = sorted(p.parent for p in options.repository.glob(f"*/{STAMP}"))
    if not exported:
        print(f"error: nothing is exported in {options.repository}: run `make export`",
              file=sys.stderr)  # fmt: skip
        return 1
    bad = 0
    audited = 0
    for repository in exported:
        lines = examine(repository)
        bad += len(lines)
        print("\n".join(lines) if lines else f"{repository}: as it was exported")
        if options.audit and (repository / audit.AUDIT).is_file():
            built = audit.read(repository)
            print(audit.table(built))
            audited += 1
            try:
                audit.require_half(built)
            except audit.AuditError as error:
                print(error)
                bad += 1
    if options.audit and not audited:
        print("error: no engines were built: run `make export TARGET=tensorrt_rtx SM=89`",
              file=sys.stderr)  # fmt: skip
        return 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

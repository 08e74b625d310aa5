"""What is measured and how, as one YAML file: `benchmarks/scenarios/*.yaml`.

    says: One caller after the other, each with a garment of its own.
    size: 512x384              # height x width of the person's picture
    wire: raw                  # raw pixels, or jpeg
    garment: new               # a new one at every call, or a known one
    kind: image                # or live: a camera's frames
    load: closed               # or fixed, poisson: so many a second, answered or not
    callers: [1, 2, 8]         # closed: at the same time
    rates: [4, 8]              # fixed, poisson: calls a second
    frames_per_second: 30      # live
    batch: 1                   # people in one request
    deadline_ms: 200           # an answer of use comes within this
    window_s: 2                # closed: a window; three in a row must agree
    seconds: 30                # each load at most
    peers: []                  # closed: other ways of serving that take turns with ours

The file's name is the scenario's. Fields that are left out are as in `Scenario`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.peers.catalogue import PEERS
from tryon.contract import MAX_BATCH_SIZE, MAX_SIDE, MIN_SIDE

FOLDER = Path(__file__).resolve().parent / "scenarios"
LOADS = ("closed", "fixed", "poisson")
JPEG_QUALITY = 90


class ScenarioError(ValueError):
    """A scenario that can't be read; the message names the file and the field."""


@dataclass(frozen=True)
class Scenario:
    """One scenario; the module's text says what the fields mean.

    `size` is (height, width) in pixels; `callers` count, `rates` calls a second, `seconds` and
    `window_s` seconds, `deadline_ms` milliseconds.
    """

    name: str
    says: str
    size: tuple[int, int]
    wire: str = "raw"
    garment: str = "new"
    kind: str = "image"
    load: str = "closed"
    callers: tuple[int, ...] = (1,)
    rates: tuple[float, ...] = ()
    frames_per_second: float = 30.0
    batch: int = 1
    deadline_ms: float = 200.0
    window_s: float = 2.0
    seconds: float = 30.0
    peers: tuple[str, ...] = ()


def names() -> list[str]:
    """The scenarios there are."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find_scenario(name: str) -> Scenario:
    """The scenario of that name, or in that file. Raises ScenarioError."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return load_scenario(path)
    if name not in names():
        raise ScenarioError(
            f"no scenario {name!r}: choose one of {', '.join(names())}, or give a .yaml file"
        )
    return load_scenario(FOLDER / f"{name}.yaml")


def load_scenario(path: Path) -> Scenario:
    """Reads and checks one file.

    Raises:
        ScenarioError: it can't be read, or a field is missing, unknown or bad; names both.
    """
    try:
        given = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = str(error).splitlines()[0]
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise ScenarioError(f"{path}: not YAML: {line}{where}") from None
    if not isinstance(given, dict):
        raise ScenarioError(f"{path}: holds no fields: write `field: value` lines")
    fields = {f.name: f for f in dataclasses.fields(Scenario) if f.name != "name"}
    values: dict[str, Any] = {"name": path.stem}
    for key, value in given.items():
        if key not in fields:
            raise ScenarioError(f"{path}: {key}: no such field; there are {', '.join(fields)}")
        try:
            values[key] = _READ[key](value)
        except (TypeError, ValueError) as error:
            raise ScenarioError(f"{path}: {key}: {value!r}: {error}") from None
    for key, field in fields.items():
        if key not in values and field.default is dataclasses.MISSING:
            raise ScenarioError(f"{path}: {key}: missing")
    scenario = Scenario(**values)
    problem = _conflict(scenario, set(given))
    if problem:
        raise ScenarioError(f"{path}: {problem}")
    return scenario


def _conflict(s: Scenario, given: set[str]) -> str:
    """What contradicts itself: the field and why, or nothing."""
    open_loop, live = s.load != "closed", s.kind == "live"
    if live and open_loop:
        return "load: a live session has its own: frames_per_second; leave load out"
    if live and s.wire == "jpeg":
        return "wire: live sessions send raw pixels: write raw"
    if live and s.garment == "new":
        return "garment: a live session wears one garment: write known"
    if live and (s.batch > 1 or s.peers or "callers" in given):
        wrong = "batch" if s.batch > 1 else "peers" if s.peers else "callers"
        return f"{wrong}: not for kind live: leave it out"
    if open_loop and not s.rates:
        return f"rates: missing: load {s.load} needs calls a second, like [4, 8]"
    if s.rates and not open_loop:
        return "rates: for load fixed and poisson alone: leave it out, or change load"
    if open_loop and "callers" in given:
        return "callers: for load closed alone: leave it out"
    if open_loop and s.peers:
        return "peers: they take turns with ours in load closed alone"
    if "frames_per_second" in given and not live:
        return "frames_per_second: for kind live alone"
    if s.batch > 1 and s.wire == "jpeg":
        return "batch: files of one length alone fit into a batch: write wire: raw"
    if s.batch > 1 and s.peers:
        return "peers: they are measured with single pictures: leave batch out"
    if s.window_s > s.seconds:
        return f"window_s: {s.window_s:g} is longer than seconds, {s.seconds:g}"
    return ""


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("write a sentence")
    return value.strip()


def _size(value: Any) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", str(value))
    if not match:
        raise ValueError("give height x width, like 512x384")
    height, width = int(match[1]), int(match[2])
    if not (min(height, width) >= MIN_SIDE and max(height, width) <= MAX_SIDE):
        raise ValueError(f"each side has {MIN_SIDE} to {MAX_SIDE} pixels")
    return height, width


def _choice(*choices: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"choose {', '.join(choices[:-1])} or {choices[-1]}")
        return str(value)

    return read


def _number(value: Any) -> float:
    # True is a number in Python, and nan compares as nothing.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise ValueError("give a number above 0")
    return float(value)


def _count(most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise ValueError(f"give whole numbers of 1 to {most}")
        return value

    return read


def _several(read: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def each(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError("give a list, like [1, 2]")
        found = tuple(read(item) for item in value)
        if len(set(found)) < len(found):
            raise ValueError("one of them is there twice")
        return found

    return each


def _not_empty(read: Callable[[Any], tuple[Any, ...]]) -> Callable[[Any], tuple[Any, ...]]:
    def some(value: Any) -> tuple[Any, ...]:
        found = read(value)
        if not found:
            raise ValueError("give at least one")
        return found

    return some


_READ: dict[str, Callable[[Any], Any]] = {
    "says": _text,
    "size": _size,
    "wire": _choice("raw", "jpeg"),
    "garment": _choice("new", "known"),
    "kind": _choice("image", "live"),
    "load": _choice(*LOADS),
    "callers": _not_empty(_several(_count(64))),
    "rates": _not_empty(_several(_number)),
    "frames_per_second": _number,
    "batch": _count(MAX_BATCH_SIZE),
    "deadline_ms": _number,
    "window_s": _number,
    "seconds": _number,
    "peers": _several(_choice(*PEERS)),
}

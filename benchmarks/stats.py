"""The benchmark's statistics: percentiles, when windows are stable, intervals of a ratio."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

PERCENTILES = (50, 90, 95, 99)
TAIL = 99.9
TAIL_SAMPLES = 2000
"""Calls from which on p99.9 is told: two lie beyond it. Of fewer it would be one call's luck."""
STABLE_WINDOWS = 3
STABLE_WITHIN = 0.10


def summarise(milliseconds: Sequence[float]) -> dict[str, float]:
    """Count, mean, smallest, largest and p50, p90, p95, p99 of latencies; p99.9 where there are
    `TAIL_SAMPLES` of them."""
    values = np.asarray(milliseconds, np.float64)
    if not len(values):
        raise ValueError("no latencies: not one call ended within the window; widen it")
    points = np.percentile(values, PERCENTILES)
    tail = {f"p{TAIL}": float(np.percentile(values, TAIL))} if len(values) >= TAIL_SAMPLES else {}
    return {
        "count": len(values),
        "mean": float(values.mean()),
        "min": float(values.min()),
        "max": float(values.max()),
        **{f"p{p}": float(v) for p, v in zip(PERCENTILES, points, strict=True)},
        **tail,
    }


def curve(milliseconds: Sequence[float], points: int = 101) -> list[float]:
    """Latencies by which 0% to 100% of the calls are done, in even steps."""
    shares = np.linspace(0, 100, points)
    return [float(v) for v in np.percentile(np.asarray(milliseconds, np.float64), shares)]


def is_stable(
    values: Sequence[float], count: int = STABLE_WINDOWS, within: float = STABLE_WITHIN
) -> bool:
    """Whether the last `count` values all lie within `within` of their mean (perf_analyzer's rule).

    Args:
        values: one figure per window, above 0, oldest first.
        count: windows in a row that must agree.
        within: share of their mean, e.g. 0.1.
    """
    last = np.asarray(values[-count:], np.float64)
    if len(last) < count:
        return False
    mean = last.mean()
    return bool((np.abs(last - mean) <= within * mean).all())


def ratio_interval(
    rounds: Sequence[tuple[Sequence[float], Sequence[float]]],
    statistic: Callable[[np.ndarray], float] = np.median,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """statistic(A) / statistic(B) with a bootstrap interval, of samples taken A B A B.

    Rounds are drawn with replacement, then calls within each round: a machine that slows down for
    a while slows both sides of a round, and calls of one window resemble each other. Drawing single
    calls alone would make the interval far too narrow.

    Args:
        rounds: (latencies of A, latencies of B) of each round.
        statistic: of all drawn latencies of one side.
        level: of the interval.

    Returns:
        value, low, high, level and rounds.
    """
    if not rounds or any(not len(a) or not len(b) for a, b in rounds):
        raise ValueError("every round needs latencies of both sides")
    pairs = [(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in rounds]
    sides = [np.concatenate(side) for side in zip(*pairs, strict=True)]
    value = float(statistic(sides[0]) / statistic(sides[1]))
    rng = np.random.default_rng(seed)
    ratios = []
    for _ in range(draws):
        drawn: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        for index in rng.integers(0, len(pairs), len(pairs)):
            for side, samples in zip(drawn, pairs[index], strict=True):
                side.append(samples[rng.integers(0, len(samples), len(samples))])
        top, bottom = (float(statistic(np.concatenate(side))) for side in drawn)
        ratios.append(top / bottom)
    low, high = np.percentile(ratios, [50 * (1 - level), 50 * (1 + level)])
    return {
        "value": value,
        "low": float(low),
        "high": float(high),
        "level": level,
        "rounds": len(pairs),
    }


def paired_ratio(
    rounds: Sequence[tuple[Sequence[float], Sequence[float]]],
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """The median over rounds of median(A) / median(B), with a bootstrap interval over rounds.

    Each round is a ratio of its own: neither a machine that changes its speed between rounds nor a
    single bad window moves it, where `ratio_interval` weighs every call alike.

    Args:
        rounds: (latencies of A, latencies of B) of each round.
        level: of the interval.

    Returns:
        value, low, high, level and rounds. Raises ValueError where a round lacks a side.
    """
    if not rounds or any(not len(a) or not len(b) for a, b in rounds):
        raise ValueError("every round needs latencies of both sides")
    each = np.array([np.median(a) / np.median(b) for a, b in rounds])
    rng = np.random.default_rng(seed)
    drawn = np.median(each[rng.integers(0, len(each), (draws, len(each)))], axis=1)
    low, high = np.percentile(drawn, [50 * (1 - level), 50 * (1 + level)])
    return {
        "value": float(np.median(each)),
        "low": float(low),
        "high": float(high),
        "level": level,
        "rounds": len(each),
    }

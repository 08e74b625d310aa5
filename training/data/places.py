"""Rooms and streets behind people, drawn: what a camera at home or outdoors has out of focus."""

from __future__ import annotations

import cv2
import numpy as np

Colour = tuple[int, int, int]


def room(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A wall and a floor with windows, doors, shelves, pictures and plants: float32 (h, w, 3)."""
    wall = _tone(rng, 90, 245, 14)
    picture = np.full((height, width, 3), wall, np.uint8)
    floor = int(height * rng.uniform(0.55, 0.95))
    _floor(rng, picture, floor)
    things = (_window, _shelf, _frame, _door, _plant, _furniture)
    for _ in range(int(rng.integers(2, 7))):
        things[int(rng.integers(len(things)))](rng, picture, floor)
    return _focused(rng, picture)


def street(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Sky, houses or trees, and a ground: float32 (h, w, 3)."""
    y = np.linspace(0, 1, height)[:, None, None]
    high, low = (np.array(_tone(rng, 150, 250, 20), float) for _ in range(2))
    picture = np.ascontiguousarray(
        np.broadcast_to(high * (1 - y) + low * y, (height, width, 3)).astype(np.uint8)
    )
    ground = int(height * rng.uniform(0.55, 0.9))
    if rng.random() < 0.6:
        x = int(-rng.uniform(0, 0.3) * width)
        while x < width:
            wide = int(rng.uniform(0.15, 0.5) * width)
            _house(rng, picture, x, x + wide, int(rng.uniform(0, 0.45) * height), ground)
            x += wide
    for _ in range(int(rng.integers(0, 7))):
        _tree(rng, picture, ground)
    colour = _tone(rng, 60, 150, 10) if rng.random() < 0.6 else _leaf(rng)
    picture[ground:] = colour
    speckle = rng.normal(0, 10, (height - ground, width, 1))
    picture[ground:] = np.clip(picture[ground:] + speckle, 0, 255).astype(np.uint8)
    return _focused(rng, picture)


def _tone(rng: np.random.Generator, low: float, high: float, spread: float) -> Colour:
    grey = rng.uniform(low, high)
    r, g, b = np.clip(grey + rng.normal(0, spread, 3), 0, 255).astype(int)
    return int(r), int(g), int(b)


def _any(rng: np.random.Generator) -> Colour:
    r, g, b = rng.integers(10, 246, 3)
    return int(r), int(g), int(b)


def _leaf(rng: np.random.Generator) -> Colour:
    return int(rng.uniform(30, 120)), int(rng.uniform(80, 160)), int(rng.uniform(20, 80))


def _focused(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """In or out of the camera's focus, under a light that falls off to one side."""
    height, width = picture.shape[:2]
    out: np.ndarray = picture.astype(np.float32) / 255
    if rng.random() < 0.75:
        out = cv2.GaussianBlur(out, (0, 0), float(rng.uniform(0.6, 7.0)) * height / 256)
    to_x, to_y = rng.uniform(-0.3, 0.3, 2)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    light = 1 + to_x * (x / width - 0.5) + to_y * (y / height - 0.5)
    return np.clip(out * light[..., None], 0, 1)


def _box(
    rng: np.random.Generator, picture: np.ndarray, wide: tuple[float, float],
    high: tuple[float, float], bottom: float,
) -> tuple[int, int, int, int]:  # fmt: skip
    """A random x0, y0, x1, y1 that stands on `bottom`."""
    height, width = picture.shape[:2]
    w, h = int(rng.uniform(*wide) * width), int(rng.uniform(*high) * height)
    x0 = int(rng.uniform(-0.2, 1.0) * width)
    return x0, int(bottom) - h, x0 + w, int(bottom)


def _floor(rng: np.random.Generator, picture: np.ndarray, top: int) -> None:
    picture[top:] = _tone(rng, 50, 200, 18)
    line = _tone(rng, 30, 160, 10)
    if rng.random() < 0.6:  # boards
        middle = picture.shape[1] * rng.uniform(0.2, 0.8)
        for x in np.arange(-2, 3, rng.uniform(0.1, 0.3)) * picture.shape[1]:
            start = (int(middle + 0.35 * (x - middle)), top)
            cv2.line(picture, start, (int(x), picture.shape[0]), line, 1, cv2.LINE_AA)
    if rng.random() < 0.6:  # a skirting board
        picture[max(top - int(rng.integers(3, 10)), 0) : top] = _tone(rng, 150, 250, 6)


def _window(rng: np.random.Generator, picture: np.ndarray, floor: int) -> None:
    x0, y0, x1, y1 = _box(rng, picture, (0.2, 0.6), (0.2, 0.6), floor * rng.uniform(0.5, 0.9))
    cv2.rectangle(picture, (x0, y0), (x1, y1), _tone(rng, 190, 255, 10), -1)
    if rng.random() < 0.5:  # green outside
        cv2.rectangle(picture, (x0, (y0 + y1) // 2), (x1, y1), _leaf(rng), -1)
    frame, thick = _tone(rng, 40, 250, 5), int(rng.integers(2, 7))
    cv2.rectangle(picture, (x0, y0), (x1, y1), frame, thick)
    for x in np.linspace(x0, x1, int(rng.integers(2, 5)))[1:-1]:
        cv2.line(picture, (int(x), y0), (int(x), y1), frame, thick)


def _shelf(rng: np.random.Generator, picture: np.ndarray, floor: int) -> None:
    x0, y0, x1, y1 = _box(rng, picture, (0.15, 0.45), (0.3, 0.8), floor)
    cv2.rectangle(picture, (x0, y0), (x1, y1), _tone(rng, 40, 200, 20), -1)
    for row in np.linspace(y0, y1, int(rng.integers(3, 7)))[:-1]:
        x = x0 + 3
        while x < x1 - 5:
            wide, high = int(rng.integers(3, 10)), int(rng.integers(8, 26))
            bottom = int(row) + 28
            cv2.rectangle(picture, (x, bottom - high), (x + wide, bottom), _any(rng), -1)
            x += wide + 1


def _frame(rng: np.random.Generator, picture: np.ndarray, floor: int) -> None:
    x0, y0, x1, y1 = _box(rng, picture, (0.08, 0.3), (0.08, 0.3), floor * rng.uniform(0.3, 0.7))
    cv2.rectangle(picture, (x0, y0), (x1, y1), _any(rng), -1)
    cv2.rectangle(picture, (x0, y0), (x1, y1), _tone(rng, 20, 230, 20), int(rng.integers(2, 6)))


def _door(rng: np.random.Generator, picture: np.ndarray, floor: int) -> None:
    x0, y0, x1, y1 = _box(rng, picture, (0.2, 0.35), (0.6, 1.0), floor)
    cv2.rectangle(picture, (x0, y0), (x1, y1), _tone(rng, 50, 250, 18), -1)
    cv2.rectangle(picture, (x0, y0), (x1, y1), _tone(rng, 40, 220, 8), 3)


def _furniture(rng: np.random.Generator, picture: np.ndarray, floor: int) -> None:
    x0, y0, x1, y1 = _box(rng, picture, (0.25, 0.8), (0.1, 0.35), floor + rng.uniform(0, 20))
    colour = _any(rng) if rng.random() < 0.5 else _tone(rng, 30, 220, 15)
    cv2.rectangle(picture, (x0, y0), (x1, y1), colour, -1)
    cv2.rectangle(picture, (x0, y0), (x1, (y0 + y1) // 2), _tone(rng, 30, 220, 15), 2)


def _plant(rng: np.random.Generator, picture: np.ndarray, floor: int) -> None:
    x0, y0, x1, y1 = _box(rng, picture, (0.1, 0.35), (0.2, 0.6), floor + 6)
    for _ in range(int(rng.integers(10, 30))):
        x, y = int(rng.uniform(x0, x1)), int(rng.uniform(y0, y1 - 0.2 * (y1 - y0)))
        long, thin = int(rng.integers(6, 24)), int(rng.integers(2, 7))
        cv2.ellipse(picture, (x, y), (long, thin), rng.uniform(0, 180), 0, 360, _leaf(rng), -1)


def _house(
    rng: np.random.Generator, picture: np.ndarray, x0: int, x1: int, y0: int, y1: int
) -> None:
    cv2.rectangle(picture, (x0, y0), (x1, y1), _tone(rng, 60, 230, 20), -1)
    pane = _tone(rng, 30, 220, 15)
    step, high = int(rng.integers(16, 40)), int(rng.integers(10, 24))
    for y in range(y0 + 8, y1 - high, high + int(rng.integers(8, 20))):
        for x in range(x0 + 6, x1 - step // 2, step):
            cv2.rectangle(picture, (x, y), (x + step // 2, y + high), pane, -1)


def _tree(rng: np.random.Generator, picture: np.ndarray, ground: int) -> None:
    height, width = picture.shape[:2]
    x, top = int(rng.uniform(-0.1, 1.1) * width), rng.uniform(-0.1, 0.4) * height
    trunk = (int(rng.uniform(40, 90)), int(rng.uniform(30, 70)), int(rng.uniform(20, 50)))
    cv2.line(picture, (x, ground), (x, int(top)), trunk, int(rng.integers(3, 12)))
    spread = rng.uniform(0.08, 0.25) * width
    for _ in range(int(rng.integers(15, 50))):
        at = (int(x + rng.normal(0, spread)), int(top + abs(rng.normal(0, 0.15)) * height))
        cv2.circle(picture, at, int(rng.integers(4, 18)), _leaf(rng), -1)

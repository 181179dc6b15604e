"""Divides a rectangle among sizes so that the parts are nearly square.

The algorithm is that of Bruls, Huizing and van Wijk, "Squarified treemaps" (2000): rows are laid
along the shorter side, and a row grows as long as that makes its worst part squarer.
"""

from collections.abc import Sequence

import attrs

__all__ = ["Box", "squarify"]


@attrs.frozen
class Box:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float

    def inside(self, margin: float, top: float) -> "Box":
        """Return what is left within a margin, and a wider one at the top."""
        width, height = self.width - 2 * margin, self.height - margin - top
        return Box(self.x + margin, self.y + top, max(width, 0), max(height, 0))


def squarify(sizes: Sequence[float], box: Box) -> list[Box]:
    """Return a box for each size. The sizes must be at least 1, the largest first."""
    total = sum(sizes)
    if not total:
        return []
    scale = box.width * box.height / total
    areas = [size * scale for size in sizes]
    boxes: list[Box] = []
    while areas:
        length = _row_length(areas, min(box.width, box.height))
        row, box = _lay_row(areas[:length], box)
        boxes += row
        del areas[:length]
    return boxes


def _row_length(areas: Sequence[float], side: float) -> int:
    """Return how many of the areas make the best row along *side*."""
    total, best = 0.0, float("inf")
    for length, area in enumerate(areas):
        total += area
        worst = _worst_ratio(areas[0], area, total, side)
        if worst > best:
            return length
        best = worst
    return len(areas)


def _worst_ratio(largest: float, smallest: float, total: float, side: float) -> float:
    """Return the ratio of the sides of a row's least square part: 1 is a square."""
    if not (side and smallest):
        return 1.0
    thickness = (total / side) ** 2
    return max(largest / thickness, thickness / smallest)


def _lay_row(areas: Sequence[float], box: Box) -> tuple[list[Box], Box]:
    """Lay one row along the shorter side; return its boxes and the rest of the rectangle."""
    total = sum(areas)
    lies = box.width < box.height
    side = box.width if lies else box.height
    thickness = min(total / side, box.height if lies else box.width) if side else 0.0
    row, done = [], 0.0
    for area in areas:
        length = side * area / total if total else 0.0
        row.append(_part(box, done, length, thickness, lies=lies))
        done += length
    if lies:
        return row, Box(box.x, box.y + thickness, box.width, max(box.height - thickness, 0))
    return row, Box(box.x + thickness, box.y, max(box.width - thickness, 0), box.height)


def _part(box: Box, done: float, length: float, thickness: float, *, lies: bool) -> Box:
    if lies:
        return Box(box.x + done, box.y, length, thickness)
    return Box(box.x, box.y + done, thickness, length)

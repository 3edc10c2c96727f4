"""What a measurement returns, and the table of them."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One ratio: certagent and the baseline in `unit`, and the target of the ratio (None: reported only)."""

    name: str
    ours: float
    baseline: float
    unit: str
    aim: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """None against a baseline of nothing."""
        return round(self.ours / self.baseline, 2) if self.baseline else None

    def row(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio}


def quantile(values: Sequence[float], part: float) -> float:
    """The value below which that part of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def median_and_p99(name: str, ours: Sequence[float], base: Sequence[float], aim: float) -> list[Figure]:
    """Two figures in milliseconds; the aim is about the p99."""
    return [
        Figure(f"{name}, median", 1e3 * statistics.median(ours), 1e3 * statistics.median(base), "ms"),
        Figure(f"{name}, p99", 1e3 * quantile(ours, 0.99), 1e3 * quantile(base, 0.99), "ms", aim),
    ]


def table(figures: Sequence[Figure]) -> str:
    """The figures for people."""
    lines = [f"{'figure':<44}{'certagent':>12}{'baseline':>12}{'ratio':>8}{'target':>7}"]
    for f in figures:
        aim, ratio = f"{f.aim:g}x" if f.aim else "", "-" if f.ratio is None else f"{f.ratio:.2f}x"
        lines.append(
            f"{f.name:<44}{f.ours:>9.2f} {f.unit:<2}{f.baseline:>9.2f} {f.unit:<2}{ratio:>8}{aim:>7}  {f.note}"
        )
    return "\n".join(lines)

"""Pictures of a run: `python -m bench.plots bench.json FOLDER`, where matplotlib is."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

_SIZE_IN = (9.0, 4.5)
_DPI = 120
_MS_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
#: Resident stands out; the others share the rest of the palette.
_OURS = {"color": "#b5179e", "linewidth": 2.4, "zorder": 5}


def main() -> None:
    """Draws whatever the run has measured."""
    file, folder = map(Path, sys.argv[1:])
    found = json.loads(file.read_text(encoding="utf-8"))
    drawings = {
        "latency": latency,
        "throughput": throughput,
        "arrivals": batches,
        "overload": overload,
    }
    for name, draw in drawings.items():
        if name in found["details"]:
            figure, axes = pyplot.subplots(figsize=_SIZE_IN, layout="constrained")
            axes.set_prop_cycle(color=pyplot.get_cmap("tab20").colors)
            draw(axes, found["details"][name])
            axes.grid(alpha=0.3)
            figure.legend(loc="outside right upper", fontsize="small", frameon=False)
            figure.text(0.99, 0.01, found["machine"], ha="right", fontsize="x-small", alpha=0.6)
            figure.savefig(folder / f"{name}.png", dpi=_DPI)
            pyplot.close(figure)


def latency(axes: Any, details: dict[str, Any]) -> None:
    """How many round trips took at most so long."""
    for name, its in details.items():
        times, shares = zip(*its["cumulative"], strict=True)
        axes.plot(times, [share * 100 for share in shares], label=name, **_style(name))
    axes.set_xscale("log")
    axes.set_xticks(_MS_TICKS, [f"{tick:g}" for tick in _MS_TICKS])
    axes.set_xlim(right=_MS_TICKS[-1])
    axes.set(title="Round trip, 1 caller", xlabel="ms", ylabel="% of questions")


def throughput(axes: Any, details: dict[str, Any]) -> None:
    """Questions a second against the number of callers."""
    seen: set[int] = set()
    for name, points in details.items():
        callers, rates, *_ = zip(*points, strict=True)
        axes.plot(callers, rates, marker="o", label=name, **_style(name))
        seen.update(callers)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sorted(seen), [str(count) for count in sorted(seen)])
    axes.minorticks_off()
    axes.set(title="Throughput, echo, one worker", xlabel="callers", ylabel="questions/s")


def batches(axes: Any, details: dict[str, Any]) -> None:
    """How batches grow with the load, and what that does to latency."""
    later = axes.twinx()
    for name, points in details.items():
        rates, sizes, p50, p99 = zip(*points, strict=True)
        axes.plot(rates, sizes, marker="o", label=f"{name}: questions in a batch", **_style(name))
        later.plot(rates, p50, "--", color="#4361ee", label="p50")
        later.plot(rates, p99, ":", color="#4361ee", label="p99")
    later.set_ylabel("ms")
    later.set_ylim(bottom=0)
    axes.set_ylim(bottom=0)
    axes.set(
        title="10 ms a batch, max_batch 32", xlabel="questions/s", ylabel="questions in a batch"
    )


def overload(axes: Any, details: dict[str, Any]) -> None:
    """Answers in time against how many ask, both as shares of what the worker can answer."""
    for name, points in details.items():
        factors, in_time, _ = zip(*points, strict=True)
        axes.plot(factors, in_time, marker="o", label=name, **_style(name))
    axes.set_ylim(bottom=0)
    axes.set(
        title="10 ms a question, budget 2 s",
        xlabel="questions that are asked, × what can be answered",
        ylabel="answers in time, × what can be answered",
    )


def _style(name: str) -> dict[str, Any]:
    return _OURS if name == "Resident" else {"linewidth": 1.2}


if __name__ == "__main__":
    main()

"""Pictures of a run: `python -m bench.plots bench.json FOLDER`, where matplotlib is."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

_SIZE_IN = (10.0, 4.8)
_DPI = 120
_MS_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
_RATE_TICKS = tuple(digit * 10**power for power in range(1, 6) for digit in (1, 2, 5))
_LEGEND_CHARACTERS = 26
_PURPLE, _GREY, _BLUE = "#b5179e", "#6c757d", "#4361ee"
#: By the first word of a name: Resident stands out, what is no product is grey. PHP is dashed.
_STYLES: dict[str, dict[str, Any]] = {
    "Resident": {"color": _PURPLE, "linewidth": 2.4, "zorder": 5},
    "bare": {"color": _GREY, "linewidth": 1.4},
    "floor": {"color": "black", "linewidth": 1.4},
}
#: One colour for a product in every picture.
_COLORS = {
    "rq.SimpleWorker": "#d62728",
    "rq.Worker": "#8c564b",
    "huey": "#1f77b4",
    "dramatiq": "#bcbd22",
    "taskiq": "#17becf",
    "SAQ": "#9467bd",
    "Celery": "#2ca02c",
    "Flask development server": "#ff7f0e",
    "gunicorn with Flask": "#f4a261",
    "FastAPI on uvicorn": "#003f88",
}
_VARIANTS = {"PHP": "--", "redis-py": ":", "batched": "-."}


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
            axes.grid(alpha=0.3)
            draw(axes, found["details"][name])
            figure.legend(loc="outside right upper", fontsize="small", frameon=False)
            figure.text(0.99, 0.01, found["machine"], ha="right", fontsize="x-small", alpha=0.6)
            figure.savefig(folder / f"{name}.png", dpi=_DPI)
            pyplot.close(figure)


def latency(axes: Any, details: dict[str, Any]) -> None:
    """How many round trips took at most so long; the legend has the fastest first."""
    for name in sorted(details, key=lambda name: _middle(details[name]["cumulative"])):
        times, shares = zip(*details[name]["cumulative"], strict=True)
        axes.plot(times, [share * 100 for share in shares], **_style(name))
    axes.set_xscale("log")
    axes.set_xticks(_MS_TICKS, [f"{tick:g}" for tick in _MS_TICKS])
    axes.minorticks_off()
    axes.set_xlim(right=_MS_TICKS[-1])
    axes.set_ylim(0, 101)
    axes.set(
        title="Round trip of echo, 1 caller", xlabel="ms", ylabel="% of answers that took no longer"
    )


def throughput(axes: Any, details: dict[str, Any]) -> None:
    """Questions a second against the number of callers; the legend has the most first."""
    seen: set[int] = set()
    drawn = {name: points for name, points in details.items() if points}
    for name, points in sorted(drawn.items(), key=lambda item: -item[1][-1][1]):
        callers, rates, *_ = zip(*points, strict=True)
        axes.plot(callers, rates, marker="o", markersize=5, **_style(name))
        seen.update(callers)
    axes.set_xscale("log")
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    ticks = [tick for tick in _RATE_TICKS if low <= tick <= high]
    axes.set_xticks(sorted(seen), [str(count) for count in sorted(seen)])
    axes.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set(title="Throughput of echo, one worker", xlabel="callers at once", ylabel="questions/s")


def batches(axes: Any, details: dict[str, Any]) -> None:
    """How batches grow with the load, and what that does to latency."""
    later = axes.twinx()
    for points in details.values():
        rates, sizes, p50, p99 = zip(*points, strict=True)
        axes.plot(rates, sizes, marker="o", color=_PURPLE, linewidth=2.4, label="batch size (left)")
        later.plot(rates, p50, "--", marker=".", color=_BLUE, label="p50 (right)")
        later.plot(rates, p99, ":", marker=".", color=_BLUE, label="p99 (right)")
    for each, label, color in (
        (axes, "questions in a batch", _PURPLE),
        (later, "ms until the answer", _BLUE),
    ):
        each.set_ylim(bottom=0)
        each.set_ylabel(label, color=color)
        each.tick_params(axis="y", colors=color)
    title = "Batches against load: Resident, a model of 10 ms a batch, max_batch 32"
    axes.set(title=title, xlabel="questions/s that arrive by chance")


def _middle(cumulative: list[list[float]]) -> float:
    return next(time for time, share in cumulative if share >= 0.5)


def overload(axes: Any, details: dict[str, Any]) -> None:
    """Answers in time against how many ask, both as shares of what the worker can answer."""
    for name, points in details.items():
        factors, in_time, _ = zip(*points, strict=True)
        axes.plot(factors, in_time, marker="o", **_style(name))
    axes.set_ylim(bottom=0)
    axes.set(
        title="10 ms a question, budget 2 s",
        xlabel="questions that are asked, × what can be answered",
        ylabel="answers in time, × what can be answered",
    )


def _style(name: str) -> dict[str, Any]:
    words = re.split(r"[ :,]", name)
    dashes = next((dash for word, dash in _VARIANTS.items() if word in words), "-")
    style = _STYLES.get(words[0], {"color": _COLORS.get(name), "linewidth": 1.2})
    label = textwrap.fill(name, _LEGEND_CHARACTERS, break_on_hyphens=False)
    return {**style, "linestyle": dashes, "label": label}


if __name__ == "__main__":
    main()

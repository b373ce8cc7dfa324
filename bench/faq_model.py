"""What the task faq costs: load, batches of 1, 8 and 32, memory.

.venv/bin/python -m bench.faq_model
"""

from __future__ import annotations

import os
import resource
import statistics
import time

import click

from resident.task import load_task, model_of

QUESTIONS = ["今天几点开门？", "Do you ship abroad?", "可以开发票吗", "Is there parking nearby?"]


@click.command()
@click.option("--calls", default=60, show_default=True, help="calls of the model a batch size")
def main(calls: int) -> None:
    """Measures and prints."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    began = time.perf_counter()
    task = load_task("faq")
    model = model_of(task)
    click.echo(f"import, load and warm-up: {time.perf_counter() - began:.2f} s")
    for size in (1, 8, 32):
        questions = (QUESTIONS * 8)[:size]
        times = []
        for _ in range(calls):
            began = time.perf_counter()
            task.answer(model, questions)
            times.append((time.perf_counter() - began) * 1000)
        median = statistics.median(times)
        spread = f"{min(times):.1f} to {max(times):.1f}"
        click.echo(
            f"batch of {size:2}: {median:5.1f} ms ({spread}), {median / size:.1f} a question"
        )
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    click.echo(f"resident memory: {memory_mb:.0f} MB")


if __name__ == "__main__":
    main()

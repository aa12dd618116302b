"""Times of contestants that take turns, and their ratios: what the benchmarks share."""

import json
import os
import platform
import statistics
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def in_turns(work, rounds, pause=0.0):
    """Seconds that each function takes, a number per round; in every round the order rotates, as machines drift.

    Args:
        work: name -> function without arguments; what has to be traced or loaded, was. One that gives a number has
            measured itself, in another process.
        rounds: how often each takes its turn.
        pause: seconds before every turn, in which threads of the one before go to sleep.
    """
    seconds, names = {name: [] for name in work}, list(work)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            time.sleep(pause)
            start = time.perf_counter()
            own = work[name]()
            passed = time.perf_counter() - start
            seconds[name].append(own if isinstance(own, float) else passed)
    return seconds


def against(values, reference):
    """Medians and ranges of seconds, and of their ratio to the reference's in the same round."""
    ratios = [value / other for value, other in zip(values, reference, strict=True)]
    return {
        "seconds": statistics.median(values),
        "seconds_range": [min(values), max(values)],
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
    }


def machine():
    """What the times hang on."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "load": os.getloadavg()[0],
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in ("tensorflow", "keras", "jax", "torch")},
    }


def _processor():
    """Its name and instruction sets that decide how fast convolutions are (Linux)."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    facts = dict(map(str.strip, line.split(":", 1)) for line in text.splitlines() if ":" in line)
    sets = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in facts.get("flags", "").split()]
    return f"{facts.get('model name', 'unknown')} ({', '.join(sets)})"


def _version(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def table(rows, names, unit="ms"):
    """Rows of `against` as lines of text.

    Args:
        rows: a dict each, with their contestant's name under "name".
        names: what contestants are, and what the ratio is to.
        unit: "s" or "ms".
    """
    scale, digits = {"s": (1, 2), "ms": (1e3, 1)}[unit]
    who, reference = names
    lines = [f"{who:<36}{unit:>10}{'(range)':>20}   x {reference} (range)"]
    for row in rows:
        low, high = (f"{scale * value:,.{digits}f}" for value in row["seconds_range"])
        first, last = row["ratio_range"]
        lines.append(
            f"{row['name']:<36}{scale * row['seconds']:>10,.{digits}f}{f'({low}-{high})':>20}"
            f"{row['ratio']:>8.2f} ({first:.2f}-{last:.2f})"
        )
    return "\n".join(lines)


def write(path, options, **content):
    """The JSON of a run: what it was asked for, the machine, and what was found."""
    settings = {
        name: value for name, value in vars(options).items() if isinstance(value, int | float | str | list | tuple)
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"settings": settings, "machine": machine(), **content}, indent=2, default=str) + "\n")

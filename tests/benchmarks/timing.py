"""Times of contestants that take turns, and their ratios: what the benchmarks share."""

import os
import platform
import statistics
import time


def in_turns(work, rounds):
    """Seconds that each function takes, a number per round; in every round the order rotates, as machines drift.

    Args:
        work: name -> function without arguments; what has to be traced or loaded, was.
        rounds: how often each takes its turn.
    """
    seconds, names = {name: [] for name in work}, list(work)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = time.perf_counter()
            work[name]()
            seconds[name].append(time.perf_counter() - start)
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
    return {"cores": os.cpu_count(), "load": os.getloadavg()[0], "platform": platform.platform()}

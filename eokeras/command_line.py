"""What all command lines share: one plain line for an error, an exit status, a progress bar."""

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Sequence

from eokeras.errors import EokerasError


def run(main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser, argv: Sequence[str] | None = None):
    """Runs a command line and exits: status 0 when the result is whole, 1 after an error, 130 when interrupted.

    Args:
        main: does the work, given the parsed arguments.
        parser: the command's parser; gets `--verbose`, which shows tracebacks.
        argv: arguments, by default those of the process.
    """
    # Must be set before TensorFlow is imported; faster on most CPUs. The user's own setting counts.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    parser.add_argument("--verbose", action="store_true", help="show tracebacks and TensorFlow's log")
    arguments = parser.parse_args(argv)
    if not arguments.verbose:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    try:
        main(arguments)
    except KeyboardInterrupt:
        _close_bars()
        sys.exit(130)
    except EokerasError as error:
        _close_bars()
        if arguments.verbose:
            raise
        print(f"{parser.prog}: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        _close_bars()
        if arguments.verbose:
            raise
        text = " ".join(str(error).split())
        print(f"{parser.prog}: {type(error).__name__}: {text} (--verbose shows where)", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)


_bars: list[Callable[[], None]] = []


def _close_bars() -> None:
    """Ends the line of an unfinished bar, so that an error starts on a line of its own."""
    while _bars:
        _bars.pop()()


def progress_bar(description: str, unit: str = " patches") -> Callable[[int, int], None]:
    """A progress bar on standard error as a function of (done, total)."""
    from tqdm import tqdm

    bar = None

    def show(done: int, total: int) -> None:
        nonlocal bar
        if bar is None:  # not before there is progress; in a log file a line every ten seconds is enough
            interval = 0.1 if sys.stderr.isatty() else 10
            bar = tqdm(desc=description, total=total, unit=unit, file=sys.stderr, mininterval=interval)
            _bars.append(bar.close)
        bar.update(done - bar.n)
        if done == total:
            bar.close()

    return show

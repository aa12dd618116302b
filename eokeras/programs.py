"""What is done to every pixel, as programs that XLA compiles where patches are many enough to be worth it.

TensorFlow's operations pass over memory once each, and move pixels of few channels slowly; a compiled program of the
same operations passes once: calibration, resampling and augmentation take a quarter to a twentieth of the time.
Compiling takes a tenth of a second to half a second for every program and shape of a batch, once in a process. Random
draws belong outside: XLA draws other floating-point numbers from the same seed.
"""

import contextlib
import functools
from collections.abc import Callable, Hashable, Iterator
from contextvars import ContextVar

import tensorflow as tf

_compiles: ContextVar[bool] = ContextVar("compiles", default=False)


@contextlib.contextmanager
def compiling(is_worth_it: bool) -> Iterator[None]:
    """Within it `run` compiles, where it is worth it and TensorFlow can; else it does not."""
    before = _compiles.set(is_worth_it and _can_compile())
    try:
        yield
    finally:
        _compiles.reset(before)


@functools.cache
def _can_compile() -> bool:
    """Whether this build of TensorFlow has XLA for this CPU, on which data sets run."""
    try:
        with tf.init_scope(), tf.device("CPU:0"):
            tf.function(tf.identity, jit_compile=True)(tf.zeros(1))
    except tf.errors.OpError:
        return False
    return True


def run(function: Callable, tensors: tuple, *constants: Hashable):
    """`function(*tensors, *constants)`, operation by operation; within `compiling(True)` as one program.

    Args:
        function: of the level of a module, so that there is one program of it for each set of constants.
        tensors: or nested structures of tensors; no strings.
        constants: what the program is compiled for.
    """
    return _program(function, constants)(*tensors) if _compiles.get() else function(*tensors, *constants)


@functools.lru_cache(maxsize=256)
def _program(function: Callable, constants: tuple) -> Callable:
    return tf.function(lambda *tensors: function(*tensors, *constants), jit_compile=True, autograph=False)

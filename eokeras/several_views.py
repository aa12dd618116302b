"""Batches in which every patch comes several times, as views or on several dates: what is done to each by itself."""

import tensorflow as tf

from eokeras.augment.composition import fold
from eokeras.ben_ge.input_names import split_view, view_count, view_name
from eokeras.errors import InvalidArgumentError


def finish_views(finish):
    """Finishes every view by itself; what is not an input comes from the first."""

    def apply(stored):
        parts = {number: finish(batch) for number, batch in _apart(stored).items()}
        inputs = _together({number: found for number, (found, *_) in parts.items()})
        return (inputs, *parts[1][1:])

    return apply


def parse_dates(parse):
    """Serialised examples of V dates -> their fields, each date a view."""
    return lambda serialised: _together({number: parse(each) for number, each in enumerate(serialised, start=1)})


def augment_dates(augment):
    """Augments each date by itself, with draws of its own."""

    def apply(batch, seed):
        changed = {number: augment(part, fold(seed, number)) for number, part in _apart(batch).items()}
        if view_count(changed[1]):
            rule = "`augment` must make no views with `dates`, which are views."
            raise InvalidArgumentError(f"{rule} Received: one that makes {', '.join(sorted(changed[1]))}.")
        return _together(changed)

    return apply


def _apart(batch):
    """`s2_view_1`, `s2_view_2`, ... -> number of the view -> `s2`, ..."""
    parts: dict[int, dict[str, tf.Tensor]] = {}
    for name, values in batch.items():
        field, number = split_view(name)
        parts.setdefault(number, {})[field] = values
    return parts


def _together(parts):
    """The inverse of `_apart`."""
    return {view_name(name, number): values for number, part in parts.items() for name, values in part.items()}

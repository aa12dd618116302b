"""One augmentation after the other, only for some patches, or several times over as views.

Letters: B batch.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from eokeras import programs
from eokeras.augment.missing import present_fields
from eokeras.ben_ge.input_names import view_count, view_name
from eokeras.errors import InvalidArgumentError

Batch = dict[str, tf.Tensor]
Augmentation = Callable[[Batch, tf.Tensor], Batch]
Change = Callable[[str, tf.Tensor, tf.Tensor], tf.Tensor]


def batch_size(batch: Batch) -> tf.Tensor:
    """Number B of patches of a batch."""
    return tf.shape(next(iter(batch.values())))[0]


def fold(seed: tf.Tensor, number: int) -> tf.Tensor:
    """A seed for the part `number` of something that has `seed`."""
    return tf.random.experimental.stateless_fold_in(seed, number)


def chain(*augmentations: Augmentation) -> Augmentation:
    """One augmentation after the other, each with a seed of its own.

    Example:
        >>> from eokeras.augment import dihedral, random_crop
        >>> batch = {"s2_10m": tf.zeros((2, 120, 120, 4)), "land_cover_map": tf.zeros((2, 120, 120), tf.uint8)}
        >>> chain(random_crop(48), dihedral())(batch, tf.constant([0, 1]))["land_cover_map"].shape
        TensorShape([2, 48, 48])
    """

    def apply(batch: Batch, seed: tf.Tensor) -> Batch:
        for number, augmentation in enumerate(augmentations):
            batch = augmentation(batch, fold(seed, number))
        return batch

    return apply


def by_field(fields: Sequence[str], what: str, change: Change) -> Augmentation:
    """An augmentation that changes the named rasters one by one, each with a seed of its own.

    Args:
        fields: names of rasters; those that a batch lacks are passed over, but one must be there.
        what: the augmentation, for errors.
        change: (name, raster (B, H, W, C), seed) -> the raster, changed.
    """

    def apply(batch: Batch, seed: tf.Tensor) -> Batch:
        changed = dict(batch)
        for number, name in enumerate(present_fields(batch, fields, what)):
            changed[name] = change(name, batch[name], fold(seed, number))
        return changed

    return apply


def sometimes(probability: float, augmentation: Augmentation) -> Augmentation:
    """An augmentation for some patches only, each with the same chance; all rasters of a patch or none.

    Args:
        probability: that a patch is augmented, above 0 and at most 1.
        augmentation: one that keeps shapes. It runs for all patches, so the time is the same.

    Returns:
        A function (batch, seed of shape (2,)) -> batch with the same shapes and dtypes.

    Raises:
        InvalidArgumentError: `probability` is out of range, or the augmentation changes shapes.

    Example:
        >>> from eokeras.augment import blur
        >>> batch = {"s2_10m": tf.ones((2, 8, 8, 4), tf.uint16)}
        >>> sometimes(0.5, blur())(batch, tf.constant([0, 1]))["s2_10m"].shape
        TensorShape([2, 8, 8, 4])
    """
    if isinstance(probability, bool) or not isinstance(probability, (int, float)) or not 0 < probability <= 1:
        raise InvalidArgumentError(
            f"`probability` must be above 0 and at most 1. Received: probability={probability!r}."
        )

    def apply(batch: Batch, seed: tf.Tensor) -> Batch:
        chosen = tf.random.stateless_uniform([batch_size(batch)], fold(seed, 0)) < probability
        changed = augmentation(batch, fold(seed, 1))
        return {name: _where(name, chosen, changed[name], values) for name, values in batch.items()}

    return apply


def _where(name, chosen, changed, values):
    if changed is values:
        return values
    if changed.shape[1:] != values.shape[1:]:
        raise InvalidArgumentError(
            f"`augmentation` must keep shapes to be applied sometimes. Received: one that makes {name!r} of "
            f"{tuple(changed.shape[1:])} from {tuple(values.shape[1:])}."
        )
    chosen = tf.reshape(chosen, (-1, *[1] * (values.shape.rank - 1)))
    return (
        programs.run(tf.where, (chosen, changed, values))
        if values.shape.rank >= 3
        else tf.where(chosen, changed, values)
    )


def views(*augmentations: Augmentation) -> Augmentation:
    """Several views of every patch, each by an augmentation and with draws of its own.

    In `make_dataset(augment=views(first, second))` every input comes once per view, named `s2_view_1`, `s2_view_2`;
    all rasters of one view share its geometry, so that `s1_view_1` shows the ground of `s2_view_1`. Targets and
    metadata are those of the first view, under their own names: a map target fits the inputs `..._view_1`.
    What all views shall share comes before: `chain(random_crop(96), views(first, second))`.

    Args:
        *augmentations: two or more; `views(augment, augment)` takes the same one with other draws.

    Returns:
        A function (batch, seed of shape (2,)) -> batch with `<field>_view_1`, `<field>_view_2`, ... of every field.

    Raises:
        InvalidArgumentError: fewer than two augmentations, one that is no function, or views of views.

    Example:
        >>> from eokeras.augment import dihedral
        >>> two = views(dihedral(), dihedral())({"s1": tf.zeros((2, 8, 8, 2))}, tf.constant([0, 1]))
        >>> sorted(two)
        ['s1_view_1', 's1_view_2']
        >>> pairs = eo.make_dataset(                                                    # doctest: +SKIP
        ...     records, "train", ("s2", "s1"), augment=views(dihedral(), dihedral()))

    Reference:
        Chen et al. 2020 (SimCLR), https://arxiv.org/abs/2002.05709; views of a satellite must share the ground
        and differ in what does not matter: Tian et al. 2020, https://arxiv.org/abs/2005.10243
    """
    if len(augmentations) < 2 or not all(map(callable, augmentations)):
        raise InvalidArgumentError(
            "`augmentations` must be two functions (batch, seed) -> batch or more, such as `dihedral()`. "
            f"Received: {augmentations!r}."
        )

    def apply(batch: Batch, seed: tf.Tensor) -> Batch:
        if view_count(batch):
            raise InvalidArgumentError(f"`batch` must hold no views yet. Received: {', '.join(batch)}.")
        made = {}
        for number, augmentation in enumerate(augmentations, start=1):
            view = augmentation(batch, fold(seed, number))
            made |= {view_name(name, number): values for name, values in view.items()}
        return made

    return apply

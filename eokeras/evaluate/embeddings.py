"""Features of a frozen encoder: one vector per patch, with what is needed to use them without the images.

Letters: N patches, B batch, H rows, W columns, D features.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from eokeras.errors import InvalidArgumentError, UnwritableError
from eokeras.evaluate.predictions import METADATA, named_inputs, with_metadata
from eokeras.evaluate.tally import as_text, check_finite
from eokeras.models.encoders.contract import VECTOR
from eokeras.models.heads import scene_level

_TARGET = "target."


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Features of patches, and what is known of them.

    Attributes:
        features: shape (N, D), float32.
        targets: target name -> references, shape (N, ...), as `make_dataset` gives them.
        metadata: `patch_id`, `tile` and `date` of each patch, shape (N,), text; {} where the data name none.
    """

    features: np.ndarray
    targets: Mapping[str, np.ndarray]
    metadata: Mapping[str, np.ndarray]

    def save(self, path: str | Path) -> Path:
        """Writes one NPZ file, whole or not at all: `features`, `patch_id`, ..., and `target.<name>`.

        Raises:
            UnwritableError: the file cannot be written.
        """
        path = Path(path)
        unfinished = path.with_name(f".{path.name}.incomplete")
        targets = {f"{_TARGET}{name}": values for name, values in self.targets.items()}
        try:
            with unfinished.open("wb") as file:
                np.savez(file, features=self.features, **self.metadata, **targets)
            os.replace(unfinished, path)
        except OSError as error:
            raise UnwritableError(f"`path` must be writable. Received: {path} ({error.strerror}).") from error
        return path

    @classmethod
    def load(cls, path: str | Path) -> "Embeddings":
        """Reads what `save` wrote; nothing is unpickled.

        Raises:
            InvalidArgumentError: the file is not there, is no such file or holds no features.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
            features = found.pop("features")
        except (OSError, ValueError, KeyError, AttributeError) as error:
            rule = "`path` must be a file that `Embeddings.save` wrote."
            raise InvalidArgumentError(f"{rule} Received: {path} ({error}).") from error
        targets = {name.removeprefix(_TARGET): values for name, values in found.items() if name.startswith(_TARGET)}
        return cls(features, targets, {name: values for name, values in found.items() if name in METADATA})


def embed(encoder: keras.Model, dataset, *, level: str | None = None) -> Embeddings:
    """The features of every patch of a data set: a level of the encoder, averaged over the patch.

    Args:
        encoder: functional model with named inputs that gives a dict of levels, as all of `eokeras.models`.
        dataset: of `make_dataset`; read in order, without augmentation, with names, tiles and dates. Or any
            `tf.data.Dataset` of `(inputs, targets[, metadata])`.
        level: which level. None: the one that most of the encoder's weights have a part in, see `chosen_level`.

    Returns:
        `Embeddings`.

    Raises:
        InvalidArgumentError: `encoder` gives no such level, `dataset` lacks one of its inputs, is empty or endless,
            or a feature is not finite.

    Example:
        >>> train = eo.make_dataset(records, "train", ("s2",), ("land_cover",))  # doctest: +SKIP
        >>> eo.evaluate.embed(encoder, train).save("train.npz")                  # doctest: +SKIP
    """
    model = pooled(encoder, level)
    features, targets, metadata = [], {}, {}
    for inputs, references, *names in with_metadata(dataset, needs_target=False).as_numpy_iterator():
        features.append(features_of(model, inputs))
        for found, part in ((targets, references), (metadata, names[0] if names else {})):
            for name, values in part.items():
                found.setdefault(name, []).append(values)
    if not features:
        raise InvalidArgumentError("`dataset` must hold at least one patch. Received: an empty dataset.")
    return Embeddings(
        np.concatenate(features),
        {name: np.concatenate(values) for name, values in targets.items()},
        {name: as_text(np.concatenate(values)) for name, values in metadata.items() if name in METADATA},
    )


def pooled(encoder: keras.Model, level: str | None = None) -> keras.Model:
    """The encoder with one output (B, D): a level, averaged over rows and columns where it is a map.

    Raises:
        InvalidArgumentError: `encoder` gives no such level.
    """
    name, features = chosen_level(encoder, level)
    if name != VECTOR:
        features = keras.layers.GlobalAveragePooling2D(dtype="float32")(features)
    return keras.Model(encoder.inputs, features)


def chosen_level(encoder: keras.Model, level: str | None = None):
    """(name, tensor) of a level of an encoder; None: the one that most of its weights have a part in.

    What is pretrained on another level leaves the rest of the encoder as it began: `stride_1` of a `unet` is made by
    all of its weights, that of a `unet_encoder` by its first two convolutions. Of several levels it is the one that
    `scene_head` reads; so with fusions, in which an encoder counts as a whole.
    """
    levels = getattr(encoder, "output", None)
    if not isinstance(levels, Mapping):
        rule = "`encoder` must be a functional model that gives a dict of levels."
        raise InvalidArgumentError(f"{rule} Received: {encoder!r}.")
    name = level
    if level is None:
        made_by = {name: _count_weights(encoder, tensor) for name, tensor in levels.items()}
        name = scene_level({name: None for name in levels if made_by[name] == max(made_by.values())})
    if name not in levels:
        raise InvalidArgumentError(f"`level` must be one of {list(levels)}. Received: level={level!r}.")
    return name, levels[name]


def _count_weights(encoder, tensor) -> int:
    """Numbers of the weights that a tensor is made by."""
    weights = keras.Model(encoder.inputs, tensor).weights
    return sum(math.prod(weight.shape) for weight in weights)


def features_of(model: keras.Model, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """One output of a model for one batch, float32 and finite."""
    found = np.asarray(model.predict_on_batch(named_inputs(model, inputs)), "float32")
    check_finite("encoder", "features", found)
    return found

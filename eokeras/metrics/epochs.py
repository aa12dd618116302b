"""What metrics of a whole epoch share: ratios of counts, means over classes, sample weights."""

from keras import ops


def ratio(numerator, denominator):
    """Ratio of counts; NaN where the denominator is 0, since nothing was there to score."""
    return ops.where(denominator > 0, ops.divide_no_nan(numerator, denominator), float("nan"))


def mean_over_present(scores, reference):
    """Mean of the scores of the classes that the reference holds; NaN where it holds none."""
    present = reference > 0
    return ratio(ops.sum(ops.where(present, scores, 0.0)), ops.sum(ops.cast(present, scores.dtype)))


def weight_of_elements(sample_weight, shape, dtype):
    """Sample weights per patch, (B,) or (B, 1), or per element, as an array of the given shape."""
    weight = ops.cast(sample_weight, dtype)
    if len(weight.shape) > len(shape):
        weight = ops.squeeze(weight, axis=-1)
    for _ in range(len(shape) - len(weight.shape)):
        weight = ops.expand_dims(weight, axis=-1)
    return ops.broadcast_to(weight, shape)

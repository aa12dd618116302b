"""The parts of a vision transformer, written out slowly in NumPy with the weights of a model's layers."""

import math

import numpy as np


def normalise(model, x, name):
    scale, shift = model.get_layer(name).get_weights()
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6) * scale + shift


def attend(model, x, heads, name):
    """Scaled dot-product attention, head by head."""
    w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o = model.get_layer(name).get_weights()
    result = 0
    for head in range(heads):
        query, key, value = (x @ kernel[:, head] + bias[head] for kernel, bias in ((w_q, b_q), (w_k, b_k), (w_v, b_v)))
        scores = np.exp(query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[-1]))
        result = result + scores / scores.sum(axis=-1, keepdims=True) @ value @ w_o[head]
    return result + b_o


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / np.sqrt(2)))


def dense(model, x, name):
    kernel, bias = model.get_layer(name).get_weights()
    return x @ kernel + bias

"""Random fields on the plane that any patch can evaluate at its own world coordinates.

Every value is a hash of (key, lattice node), so neighbouring patches agree on their
common border, and no patch needs to know what another one has drawn.
Coordinates are metres; x of shape (1, W) with y of shape (H, 1) spans a grid and is
fast, any other pair of equal shapes is a set of points.

Reference: lattice value noise with cubic B-splines, Perlin 1985, "An image synthesizer".
"""

import hashlib

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
# Standard deviation of white unit noise after cubic B-splines along two axes (151/315 is
# the mean over a cell of the sum of the squared weights along one axis).
_SPLINE_STD = 151 / 315


def key_of(*parts) -> int:
    """A 64-bit key from names and numbers, the same in every process and version.

    Example:
        >>> key_of(0, "terrain") == key_of(0, "terrain")
        True
    """
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def hash_nodes(key: int, *indices) -> np.ndarray:
    """uint64 hash of integer arrays (broadcast together), by the splitmix64 finaliser."""
    state = np.array([key], dtype=np.uint64)  # an array, so that overflow wraps silently
    for index in indices:
        state = state ^ np.asarray(index, dtype=np.int64).view(np.uint64)
        state = (state + _GOLDEN) * _MIX[0]
        state = (state ^ (state >> _SHIFTS[1])) * _MIX[1]
        state = state ^ (state >> _SHIFTS[2])
    return state if any(np.ndim(index) for index in indices) else state[0]


def uniform(key: int, *indices) -> np.ndarray:
    """Hashed numbers in [0, 1), one per node."""
    return (hash_nodes(key, *indices) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(key: int, *indices) -> np.ndarray:
    """Hashed standard normal numbers, one per node (Box-Muller)."""
    state = hash_nodes(key, *indices)
    first = (state >> np.uint64(32)).astype(np.float64) * 2.0**-32
    second = (state & np.uint64(0xFFFFFFFF)).astype(np.float64) * 2.0**-32
    return np.sqrt(-2.0 * np.log1p(-first)) * np.cos(2.0 * np.pi * second)


def gumbel(key: int, *indices) -> np.ndarray:
    """Hashed standard Gumbel numbers, one per node: argmax(logits + gumbel) draws a softmax."""
    return -np.log(-np.log(uniform(key, *indices) + 2.0**-54))


def _spline_taps(coordinate: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Index of the first of four nodes and their cubic B-spline weights."""
    first = np.floor(coordinate).astype(np.int64)
    t = coordinate - first
    weights = [(1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6]
    return first - 1, weights


def field(key: int, spacing_m: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Smooth random field of mean 0 and variance 1 with features about twice `spacing_m` wide.

    Args:
        key: what field this is (`key_of`).
        spacing_m: distance of the lattice nodes in metres.
        x: eastward world coordinate in metres, (1, W) or any shape.
        y: northward world coordinate in metres, (H, 1) or the shape of `x`.

    Returns:
        float64 of shape (H, W), or of the shape of `x`.

    Example:
        >>> x = np.array([[0.0, 10.0]])
        >>> field(1, 100.0, x, np.array([[5.0]])).shape
        (1, 2)
    """
    shift = (key & 0xFFFFFFFF) * 2.0**-32, (key >> 32) * 2.0**-32  # lattices of different keys do not align
    column, column_weights = _spline_taps(x / spacing_m + shift[0])
    row, row_weights = _spline_taps(y / spacing_m + shift[1])
    if x.ndim == y.ndim == 2 and x.shape[0] == y.shape[1] == 1:
        return _grid(key, row[:, 0], row_weights, column[0], column_weights) / _SPLINE_STD
    total = np.zeros(np.broadcast_shapes(row.shape, column.shape))
    for j in range(4):
        for i in range(4):
            total += row_weights[j] * column_weights[i] * normal(key, row + j, column + i)
    return total / _SPLINE_STD


def _grid(key, row, row_weights, column, column_weights) -> np.ndarray:
    """Separable evaluation: blend the nodes along x, then along y."""
    rows = np.arange(row.min(), row.max() + 4)
    columns = np.arange(column.min(), column.max() + 4)
    nodes = normal(key, rows[:, None], columns[None, :])
    along_x = sum(nodes[:, column - columns[0] + i] * column_weights[i] for i in range(4))
    if rows.size == 4:  # wide fields: all pixels share their nodes
        return sum(along_x[j] * row_weights[j] for j in range(4))
    total = along_x[row - rows[0]] * row_weights[0]
    for j in range(1, 4):
        total += along_x[row - rows[0] + j] * row_weights[j]
    return total


def fractal(key: int, spacing_m: float, octaves: int, roughness: float, x, y) -> np.ndarray:
    """Sum of fields of halving spacing, each `roughness` times as strong; variance 1."""
    amplitudes = roughness ** np.arange(octaves)
    total = sum(amplitudes[k] * field(key_of(key, k), spacing_m / 2**k, x, y) for k in range(octaves))
    return total / np.sqrt(np.sum(amplitudes**2))


def cells(key: int, spacing_m: float, x: np.ndarray, y: np.ndarray, angle: float = 0.0, boxy: float = 0.0):
    """Nearest and second nearest seed of a jittered grid: parcels like a Voronoi diagram.

    Args:
        key: what diagram this is.
        spacing_m: mean distance of the seeds in metres.
        x, y: world coordinates in metres, of one shape.
        angle: direction in radians that straight borders follow.
        boxy: 0 for Voronoi polygons, 1 for rectangles (maximum norm), or between.

    Returns:
        (column, row) of the nearest seed as int64, its (x, y) in metres, the gap
        second minus first distance in metres (0 on a border), and a key of the pair.
    """
    cosine, sine = np.cos(angle), np.sin(angle)
    u, v = (cosine * x + sine * y) / spacing_m, (-sine * x + cosine * y) / spacing_m
    column, row = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    jitter = 0.85 - 0.35 * boxy
    columns = np.arange(column.min() - 1, column.max() + 2)
    rows = np.arange(row.min() - 1, row.max() + 2)[:, None]
    node_u = (columns + 0.5 + jitter * (uniform(key, rows, columns[None, :]) - 0.5)).ravel()
    node_v = (rows + 0.5 + jitter * (uniform(key ^ 0xA5A5, rows, columns[None, :]) - 0.5)).ravel()
    identity = hash_nodes(key, rows, columns[None, :]).ravel()
    here = (row - rows[0, 0]) * columns.size + column - columns[0]
    best, second = np.full(u.shape, np.inf), np.full(u.shape, np.inf)
    nearest, runner_up = here.copy(), here.copy()
    for offset in (j * columns.size + i for j in (-1, 0, 1) for i in (-1, 0, 1)):
        node = here + offset
        du, dv = u - node_u[node], v - node_v[node]
        distance = np.sqrt(du * du + dv * dv)
        if boxy:
            distance = boxy * np.maximum(np.abs(du), np.abs(dv)) + (1 - boxy) * distance
        closer, between = distance < best, distance < second
        runner_up = np.where(closer, nearest, np.where(between, node, runner_up))
        second = np.where(closer, best, np.where(between, distance, second))
        nearest = np.where(closer, node, nearest)
        best = np.where(closer, distance, best)
    seed_u, seed_v = node_u[nearest], node_v[nearest]
    seeds = (cosine * seed_u - sine * seed_v) * spacing_m, (sine * seed_u + cosine * seed_v) * spacing_m
    grid = nearest % columns.size + columns[0], nearest // columns.size + rows[0, 0]
    return grid, seeds, (second - best) * spacing_m, identity[nearest] ^ identity[runner_up]

"""What an oracle could reach: targets x modalities, from the latent variables of a world.

The oracle knows the rules of the world and all its distributions, but not the patch at hand.
It is shown latent variables, never pixels: of the whole patch (state of vegetation, snow, sun,
soil moisture, height, weather, coarse composition) and of one parcel (mean spectrum, mean
backscatter, canopy height). Its answer is the Bayes posterior over cover types and over a
library of places and dates drawn from the same world. Approximations:

* Parcels are judged one by one; roads, hedges and mixed pixels are left out, and distributions
  of parcels are normal (spectra linearised around the mean state of the leaves).
* When it judges a parcel, the oracle is told the conditions (climate, date) that each
  modality shows; the prior of the cover types still comes from the scene alone.
* Speckle and sensor noise do not count: a parcel has a hundred pixels and more.

So a model may pass the table a little where it reads borders and neighbours, and will mostly
stay below it. Standard error with the default number of draws: about 0.01 to 0.015 for the
accuracies, 0.005 for the season; sets of modalities share their draws, so that differences
between them are more certain.
"""

from functools import partial

import numpy as np

from eokeras.ben_ge.schema import CLIMATE_ZONES, LAND_COVER
from eokeras.ben_ge.simulation import latents, noise
from eokeras.ben_ge.simulation.cover_types import COVER_TYPES
from eokeras.ben_ge.simulation.land_cover import SWAPPED_CODES
from eokeras.ben_ge.simulation.latents import Contexts
from eokeras.ben_ge.simulation.world import MODALITIES, World

SUBSETS = (
    (),
    *((name,) for name in MODALITIES),
    *(("s2", name) for name in MODALITIES if name != "s2"),
    ("s2", "s1", "dem"),
    MODALITIES,
)
_DECOYS = 6  # decoy climates or dates averaged per entry of the library
_CODES = np.array([entry.code for entry in LAND_COVER])
_ZONES = np.array([zone.code for zone in CLIMATE_ZONES])


def information_table(world: World, seed: int, draws: int = 1000, library: int = 3000) -> dict[str, dict[str, float]]:
    """Best scores that each set of modalities allows.

    Args:
        world: the knobs.
        seed: seed of the world (its continent) and of the draws.
        draws: Monte Carlo draws of patches and parcels.
        library: places and dates that carry the posterior.

    Returns:
        target -> modalities joined by "+" ("none" for no data) -> score: accuracy for
        `climate_zone` and `land_cover_map` (share of pixels), mean absolute error for `season`.

    Example:
        >>> table = information_table(World(), 0, draws=200, library=500)
        >>> table["season"]["era5"] < table["season"]["none"]
        True
    """
    random = np.random.default_rng([seed % 2**64, noise.key_of("information")])
    truth = latents.draw_contexts(seed, draws, random)
    known = latents.draw_contexts(seed, library, random)
    scenes = {name: _scene_log_likelihood(world, name, truth, known, random) for name in MODALITIES}
    answers = _Parcels(world, truth, random)
    table: dict[str, dict[str, float]] = {"climate_zone": {}, "land_cover_map": {}, "season": {}}
    for subset in SUBSETS:
        name = "+".join(subset) or "none"
        weights = _weights(sum((scenes[modality] for modality in subset), np.zeros((draws, library), np.float32)))
        zone = _ZONES[np.argmax(weights @ (known.zone[:, None] == _ZONES).astype(np.float32), axis=1)]
        table["climate_zone"][name] = _rounded(np.mean(zone == truth.zone))
        table["season"][name] = _rounded(np.mean(np.abs(_median(known.season, weights) - truth.season)))
        table["land_cover_map"][name] = _rounded(answers.accuracy(subset, weights @ known.types.astype(np.float32)))
    return table


def _rounded(value) -> float:
    return round(float(value), 4)


def _weights(log_likelihood: np.ndarray) -> np.ndarray:
    weights = np.exp((log_likelihood - log_likelihood.max(axis=1, keepdims=True)).astype(np.float32))
    return weights / weights.sum(axis=1, keepdims=True)


def _median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted medians (n,) of values in 0..1 under weights (n, m), to a 200th."""
    bins = np.minimum((values * 200).astype(int), 199)
    reached = np.cumsum(weights @ np.eye(200, dtype=np.float32)[bins], axis=1) >= 0.5
    return (np.argmax(reached, axis=1) + 0.5) / 200


def _log_normal(seen: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Log density (n, m) of n observations under m means, without its constant."""
    seen, mean = (seen / deviation).astype(np.float32), (mean / deviation).astype(np.float32)
    square = np.sum(seen**2, axis=1)[:, None] + np.sum(mean**2, axis=1)[None, :] - 2 * seen @ mean.T
    return -0.5 * square


# ---------------------------------------------------------------------- scenes


def _scene_log_likelihood(world: World, modality: str, truth: Contexts, known: Contexts, random) -> np.ndarray:
    """Log likelihood (n, m) of what a modality shows of n patches, for m entries of the library."""
    climate, date = world.link("climate_zone", modality), world.link("season", modality)
    shows = partial(_shown, modality)
    true_climate = random.random(truth.day.size) < climate
    true_date = random.random(truth.day.size) < date
    partner, other = random.permutation(truth.day.size), random.permutation(truth.day.size)
    index = np.arange(truth.day.size)
    mean, deviation = shows(truth, np.where(true_climate, index, partner), np.where(true_date, index, other))
    seen = mean + deviation * random.standard_normal(mean.shape)
    if modality == "dem":  # carries no date: a broken climate leaves nothing that is true
        date = climate
    total = _mixture(shows, seen, deviation, known, climate, date, modality != "dem", random)
    composition = latents.composition_vectors(modality, truth.types)
    if composition is not None:
        strength = world.link("land_cover_map", modality)
        common = known.types.mean(axis=0)
        mean, deviation = latents.composition_vectors(modality, strength * truth.types + (1 - strength) * common)
        entries, _ = latents.composition_vectors(modality, strength * known.types + (1 - strength) * common)
        total = total + _log_normal(mean + deviation * random.standard_normal(mean.shape), entries, deviation)
    return total


def _shown(modality, contexts: Contexts, climates, dates):
    climate = type(contexts.climate)(*(value[climates] for value in vars(contexts.climate).values()))
    return latents.scene_vectors(modality, climate, contexts.latitude[climates], contexts.day[dates])


def _mixture(shows, seen, deviation, known: Contexts, climate: float, date: float, apart: bool, random) -> np.ndarray:
    """Log of the likelihood with links intact or broken, averaged over decoys.

    `apart`: climate and date may be broken one without the other.
    """
    size = known.day.size
    index = np.arange(size)
    intact = _log_normal(seen, shows(known, index, index)[0], deviation)
    if climate >= 1 and date >= 1:
        return intact
    true, false = (climate * date, (1 - climate) * (1 - date)) if apart else (climate, 1 - climate)
    anywhere = np.exp(intact).mean(axis=1, keepdims=True)  # the same for every entry: no information
    density = true * np.exp(intact) + false * anywhere
    for weight, axis in ((climate * (1 - date), 1), ((1 - climate) * date, 0)) if apart else ():
        for _ in range(_DECOYS if weight > 0 else 0):
            pair = [index, index]
            pair[axis] = random.permutation(size)
            density = density + weight / _DECOYS * np.exp(_log_normal(seen, shows(known, *pair)[0], deviation))
    return np.log(density + 1e-30)


# ---------------------------------------------------------------------- parcels


class _Parcels:
    """One parcel per patch: its type, what each modality shows of it, and the likelihoods."""

    def __init__(self, world: World, truth: Contexts, random):
        self.world = world
        self.cover = _draw(truth.types_here, random)
        decoys = _draw(np.broadcast_to(truth.types.mean(axis=0), truth.types.shape), random)
        codes = np.array([entry.code for entry in COVER_TYPES])
        noisy = (random.random(decoys.size) < world.label_noise) & (codes[self.cover] != 80)
        self.label = np.where(
            noisy, SWAPPED_CODES[random.integers(len(SWAPPED_CODES), size=decoys.size)], codes[self.cover]
        )
        self.members = codes[:, None] == _CODES
        self.likelihood = {name: self._of(name, truth, decoys, random) for name in ("s2", "s1", "dem")}

    def _of(self, modality: str, truth: Contexts, decoys, random) -> np.ndarray:
        """Likelihood (n, types) of what a modality shows, up to a factor per parcel."""
        strength, rows = self.world.link("land_cover_map", modality), np.arange(decoys.size)
        intact = random.random(decoys.size) < strength
        shown = np.where(intact, self.cover, decoys)
        mean, covariance = latents.parcel_normals(modality, truth)
        root = np.linalg.cholesky(covariance)
        step = np.einsum("nij,nj->ni", root[rows, shown], random.standard_normal(mean.shape[::2]))
        offset = (mean[rows, shown] + step)[:, None, :] - mean
        scaled = np.linalg.solve(root, offset[..., None])[..., 0]
        spread = np.log(np.diagonal(root, axis1=-2, axis2=-1)).sum(axis=-1)
        log_density = -0.5 * np.sum(scaled**2, axis=-1) - spread
        density = np.exp(log_density - log_density.max(axis=1, keepdims=True))
        if modality == "s2":
            density = self._hide(density, shown, truth, random)
        decoy_density = density @ truth.types.mean(axis=0)
        if modality == "dem":  # relief tells of slope, and of moist valleys
            density = density * np.where(intact[:, None], truth.types_here / np.maximum(truth.types, 1e-12), 1.0)
        return strength * density + (1 - strength) * decoy_density[:, None]

    def _hide(self, density, shown, truth, random) -> np.ndarray:
        """Under snow or cloud only the chance of being hidden speaks."""
        chance = latents.hidden_share(truth, self.world.cloud_fraction)
        hidden = random.random(shown.size) < chance[np.arange(shown.size), shown]
        return np.where(hidden[:, None], chance, density * (1 - chance))

    def accuracy(self, subset, prior: np.ndarray) -> float:
        """Share of parcels whose label is the most probable class."""
        posterior = prior.astype(np.float64)
        for modality in set(subset) & set(self.likelihood):
            posterior *= self.likelihood[modality] + 1e-300
        classes = posterior @ self.members
        return float(np.mean(_CODES[np.argmax(classes, axis=1)] == self.label))


def _draw(probabilities: np.ndarray, random) -> np.ndarray:
    reached = np.cumsum(probabilities, axis=1)
    return np.argmax(reached >= random.random(len(reached))[:, None] * reached[:, -1:], axis=1)

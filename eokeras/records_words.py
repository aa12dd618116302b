"""How the page about records writes numbers and names."""

from eokeras.ben_ge import schema as tables


def summary_row(summary) -> list[float | str]:
    """Mean, std and percentiles of a band, to a tenth."""
    keys = ("mean", "std", "p1", "p2", "p98", "p99")
    return ["none" if summary[key] is None else round(summary[key], 1) for key in keys]


def band_order(bands) -> list[str]:
    """Bands in the canonical order, not in that of the stored groups."""
    order = [*tables.CHANNELS["s2"], *tables.S1_POLARISATIONS, *tables.RASTERS["dem"].bands]
    return [band for band in order if band in bands]


def stored_unit(raster) -> str:
    """What the stored numbers of a raster are."""
    return {"s1": "dB", "dem": "m"}.get(raster, "digital number")


def dimensions(raster) -> str:
    """Pixels of a raster and their size."""
    return f"{raster.shape[0]} x {raster.shape[1]} of {raster.gsd_m} m"


def class_name(target, label) -> str:
    """The class, with what a Köppen-Geiger symbol means."""
    zones = {zone.symbol: zone.name for zone in tables.CLIMATE_ZONES}
    return f"{label} ({zones[label]})" if target == "climate_zone" and label in zones else label


def sensor_name(name) -> str:
    """Name of a sensor by its input."""
    return {"s2": "Sentinel-2", "s1": "Sentinel-1"}[name]


def pair_words(pair) -> str:
    """The pair "test and train" as the heading of a column."""
    side, against = pair.split(" and ")
    return f"{side} with {against}"


def share_words(number, total) -> str:
    """A number of patches and its share of all."""
    if number is None:
        return "not known"
    return f"{number:,} ({percent(number / total)})" if number else "0"


def percent(share) -> str:
    """A share in percent."""
    return "<0.1 %" if share < 0.0005 else f"{100 * share:.1f} %"


def distance(metres) -> str:
    """Metres in kilometres."""
    return "none" if metres is None else f"{metres / 1000:,.2f} km"


def setting_words(value) -> str:
    """A value of the configuration."""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)

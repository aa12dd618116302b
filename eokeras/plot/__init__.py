"""Pictures of patches and of result objects: functions that return a `matplotlib.figure.Figure`.

One visual language throughout: a colour per modality (colour-blind safe, after Okabe and Ito), ESA
WorldCover in its official colours, reflectance stretched from 0 to 0.3, backscatter from -25 to 0 dB,
elevation with hillshade. No pyplot, so nothing global changes; save with `figure.savefig(path)`.
"""

from eokeras.plot.charts import confusion_matrix, curves, score_chart
from eokeras.plot.differences import comparison_chart, importance_chart
from eokeras.plot.efficiency import embedding_chart, label_efficiency_chart
from eokeras.plot.experiments import dose_response, subset_chart
from eokeras.plot.images import maps, samples
from eokeras.plot.records import band_chart, class_chart, mosaic, split_map
from eokeras.plot.rendering import hillshade, land_cover_rgb, true_colour
from eokeras.plot.sharing import sharing_chart
from eokeras.plot.style import MODALITY_COLOURS

__all__ = [
    "MODALITY_COLOURS",
    "band_chart",
    "class_chart",
    "comparison_chart",
    "confusion_matrix",
    "curves",
    "dose_response",
    "embedding_chart",
    "hillshade",
    "importance_chart",
    "label_efficiency_chart",
    "land_cover_rgb",
    "maps",
    "mosaic",
    "samples",
    "score_chart",
    "sharing_chart",
    "split_map",
    "subset_chart",
    "true_colour",
]

"""The csvs of a ben-ge tree together: which fields they give, and the fields of one patch."""

from collections.abc import Mapping
from pathlib import Path

from eokeras.ben_ge import tables
from eokeras.ben_ge.schema import LAND_COVER_NO_DATA

_FIELDS = {
    "meta": ("patch_id_s1", "timestamp_s2", "timestamp_s1", "season", "season_s1", "lonlat"),
    "climatezones": ("climate_zone",),
    "landcover": ("land_cover_fractions",),
    "era5": ("era5", "era5_level"),
    "geoclusters": ("geocluster",),
}


class CsvSource:
    """Reads the rows of a patch.

    Args:
        csvs: kind of `tables.COLUMNS` -> path.

    Attributes:
        tables: kind -> `tables.Table`.
        fields: the fields that `read` and `read_fractions` give.

    Raises:
        InvalidSourceError: a csv cannot be used.
    """

    def __init__(self, csvs: Mapping[str, Path]):
        self.tables = {kind: tables.Table(path, kind) for kind, path in csvs.items()}
        meta = self.tables.get("meta")
        self._climate = self.tables.get("climatezones") or (meta if meta and "climatezone" in meta.columns else None)
        fields = {name for kind in self.tables for name in _FIELDS[kind]}
        self.fields = frozenset(fields | {"climate_zone"} if self._climate else fields)

    def read(self, patch_id: str) -> dict[str, object]:
        """Fields of all csvs but the land-cover fractions, and `patch_id_s1` where any of them states it.

        Raises:
            InvalidPatchError: a row is missing or breaks a rule, or csvs name different Sentinel-1 patches.
        """
        features = {}
        if "meta" in self.tables:
            features |= tables.meta_fields(self.tables["meta"].row(patch_id))
        if self._climate:
            features |= tables.climate_fields(self._climate.row(patch_id))
        if "era5" in self.tables:
            row = self.tables["era5"].row(patch_id)
            features |= tables.era5_fields(row)
            if "patch_id_s1" in row.values:
                name = features.setdefault("patch_id_s1", row.text("patch_id_s1"))
                if name != row.text("patch_id_s1"):
                    raise row.fail("patch_id_s1", f"{name}, as in the meta csv")
        if "geoclusters" in self.tables:
            features |= tables.cluster_fields(self.tables["geoclusters"].row(patch_id))
        return features

    def read_fractions(self, patch_id: str, land_cover_map) -> dict[str, object]:
        """`land_cover_fractions`, where a csv holds them.

        Args:
            patch_id: the patch.
            land_cover_map: its codes (H, W), or None. Where every pixel has a class the fractions must sum to one.

        Raises:
            InvalidPatchError: the row is missing or breaks a rule.
        """
        if "landcover" not in self.tables:
            return {}
        whole = land_cover_map is not None and LAND_COVER_NO_DATA not in land_cover_map
        return tables.fraction_fields(self.tables["landcover"].row(patch_id), whole)

"""What tests share: a small published archive, its server, and a function that fetches it; a reader that counts."""

import pytest

from eokeras.ben_ge import geotiff, rasters
from tests import servers
from tests.servers import NAME
from tests.trees import write_tree


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """(features of every patch, tar.gz of their tree): a real ben-ge-800 of two patches."""
    folder = tmp_path_factory.mktemp("published") / NAME
    return write_tree(folder, 2, labels=True), servers.packed(folder)


@pytest.fixture
def server(published, monkeypatch):
    """Serves the archive as Zenodo does."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with servers.RecordServer(f"{NAME}.tar.gz", published[1], record=12941231) as running:
        yield running


@pytest.fixture
def pauses(monkeypatch):
    """The pauses in seconds that would have been made."""
    from eokeras.ben_ge.http_client import HttpClient

    made = []
    monkeypatch.setattr(HttpClient, "_rest", lambda client, pause_s: made.append(pause_s))
    return made


@pytest.fixture
def fetch(server, pauses, tmp_path):
    """`download` from the local server; made with the defaults of the function but for the time it waits."""
    from eokeras import ben_ge

    def call(**options):
        return ben_ge.download(NAME, tmp_path / "data", base=server.address, **{"progress": False} | options)

    return call


@pytest.fixture
def asked(monkeypatch):
    """The files about which the fast reader asked rasterio; it knows nothing at first."""
    paths = []

    reference = rasters.read_band

    def counted(patch_id, path, raster):
        paths.append(path)
        return reference(patch_id, path, raster)

    monkeypatch.setattr(geotiff, "_KNOWN", {})
    monkeypatch.setattr(rasters, "read_band", counted)
    return paths

"""A tiny set of rendered faces, shared by the tests of this folder."""

import pytest

from neuroemo.datasets.faces import FacesSettings, render_faces

TINY = FacesSettings(subjects=5, clips_per_subject=4, size=48, frames=7, seed=3)


@pytest.fixture(scope="session")
def tiny():
    return TINY


@pytest.fixture(scope="session")
def faces(tmp_path_factory):
    return render_faces(tmp_path_factory.mktemp("faces") / "set", TINY, workers=1)

"""What the demo runs: which videos, which network, how it is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neuroemo.datasets.faces import FacesSettings
    from neuroemo.events.framediff import FrameDiffSettings
    from neuroemo.training.loop import TrainSettings


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """What the demo runs. ``videos`` None means synthetic faces; ``small`` only shows that everything runs."""

    out: Path
    videos: Path | None = None
    small: bool = False
    seed: int = 0
    lava_clips: int = 8

    @property
    def model(self) -> str:
        """Name of the network's preset."""
        return "demo-small" if self.small else "demo"

    def faces(self) -> FacesSettings:
        """Return what faces to render."""
        from neuroemo.datasets.faces import FacesSettings

        if self.small:
            return FacesSettings(subjects=25, clips_per_subject=16, size=64, fps=15.0, frames=15, seed=self.seed)
        return FacesSettings(subjects=50, clips_per_subject=24, size=96, fps=15.0, frames=18, seed=self.seed)

    def training(self) -> TrainSettings:
        """Return how to train the network and its twin."""
        from neuroemo.training.loop import TrainSettings

        return TrainSettings(epochs=16 if self.small else 14, seed=self.seed)

    def events(self) -> FrameDiffSettings:
        """Return how to make events: the paper's simulation at the preset's size and steps."""
        from neuroemo.events.framediff import FrameDiffSettings
        from neuroemo.models.emotion import SPECS

        spec = SPECS[self.model]
        return FrameDiffSettings(size=spec.size, steps=spec.steps, first_frame=spec.first_frame)

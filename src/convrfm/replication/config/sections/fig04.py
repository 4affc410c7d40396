"""The section of Figure 4, Deep ConvRFM against the network, layer by layer."""

from pydantic import Field

from convrfm.replication.config.models import Model, Positive

__all__ = ["Fig04"]


class Fig04(Model):
    """Figure 4, Deep ConvRFM against the network, layer by layer; its kernels and networks are those of Figures 5 and 6."""

    sigma: float = Field(
        1.0, ge=0, description="tasks of fig05.panels that have this noise level are shown, at that level"
    )
    datasets: list[str] = Field(default=[], description="data sets of fig06.datasets that are shown as well")
    seeds: Positive = Field(3, description="how many of the seeds are measured, as far as there are networks of them")
    images: Positive = Field(
        20, description="test images that the correlations are averaged over; the first one is drawn"
    )
    control_draws: Positive = Field(3, description="random matrices of the control, for each layer")

"""The section of Figure 1, the ansatz in trained networks."""

from pydantic import Field

from convrfm.replication.config.models import Model

__all__ = ["Fig01"]


class Fig01(Model):
    """Figure 1, the ansatz in trained networks."""

    heat_maps: list[str] = Field(
        min_length=1,
        max_length=4,
        description="networks of the section zoo whose first layer is shown, such as vgg11-v1 or vgg11-standin",
    )

"""The section of Figure 2, images through the matrices of each layer."""

from pydantic import Field

from convrfm.replication.config.models import Model, Positive

__all__ = ["Fig02"]


class Fig02(Model):
    """Figure 2, images through the matrices of each layer."""

    network: str = Field(description="network of the section zoo, such as vgg11-v1 or vgg11-standin")
    images: Positive = Field(description="images of each source that are compared; the first ones are shown")
    control_draws: Positive = Field(5, description="draws of the random matrices that each pair is compared with")

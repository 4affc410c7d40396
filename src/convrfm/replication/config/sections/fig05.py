"""The section of Figure 5, local signal adaptivity."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from convrfm.replication.config.models import Model, Positive, check_each_once
from convrfm.replication.record.record import run_name

__all__ = ["CNNSettings", "Fig05", "LocalSignalPanel", "OptimizerSettings", "RFMSection"]


class OptimizerSettings(Model):
    """One optimizer of a network."""

    learning_rate: float = Field(gt=0, description="step size")
    epochs: Positive = Field(description="passes over the training images")
    seeds_in_most_noise: Positive | None = Field(
        None,
        description="how many of the seeds train at the highest noise level, where claims are decided; null: `seeds`",
    )


class CNNSettings(Model):
    """The plain convolutional network, trained with each optimizer."""

    width: Positive = Field(64, description="filters of each convolution")
    batch_size: Positive = Field(128, description="images per step")
    seeds: Positive = Field(description="how many of the seeds train networks; the first ones of the list")
    adam: OptimizerSettings = Field(description="settings of Adam")
    sgd: OptimizerSettings = Field(description="settings of plain SGD; the paper's values are lost")

    @model_validator(mode="after")
    def _most_noise_has_no_fewer_seeds(self) -> Self:
        for name in ("adam", "sgd"):
            more = getattr(self, name).seeds_in_most_noise
            if more is not None and more < self.seeds:
                msg = f"{name}.seeds_in_most_noise must be at least seeds, {self.seeds}, but it is {more}"
                raise ValueError(msg)
        return self


class RFMSection(Model):
    """ConvRFM and Deep ConvRFM."""

    rounds: Positive = Field(5, description="rounds of ConvRFM, T")
    stages: Positive = Field(3, description="stages of Deep ConvRFM, at most the depth; stage 0 is ConvRFM")
    filters: Positive = Field(64, description="random filters of each stage of Deep ConvRFM")
    ridges: list[Annotated[float, Field(gt=0)]] = Field(
        default=[1e-8, 1e-5, 1e-3], min_length=1, description="ridges to try, for a kernel divided by its largest entry"
    )

    def check(self, depth: int) -> None:
        """Check that there are stages and rounds to compare, for a task that has this section under the key `rfm`.

        Args:
            depth: convolutions of the task's kernels, L.

        Raises:
            ValueError: there are more stages than convolutions, or fewer than two rounds.
        """
        if self.stages > depth:
            msg = f"rfm.stages must be at most depth, {depth}, but it is {self.stages}"
            raise ValueError(msg)
        if self.rounds < 2:
            msg = "rfm.rounds must be at least 2: round 0 is the plain kernel that the others are compared with"
            raise ValueError(msg)


class LocalSignalPanel(Model):
    """One local-signal task with its kernels and networks."""

    task: Literal["bars", "noisy-digits", "noisy-mnist"] = Field(
        description="noisy bars; noisy digits with scikit-learn's embedded digits (a stand-in); or with MNIST"
    )
    n_train: Positive = Field(description="training images")
    n_test: Positive = Field(description="test images")
    sigmas: list[Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        min_length=1, description="noise levels in the authors' parametrisation, see convrfm.datasets.local_signal"
    )
    depth: Positive = Field(3, description="convolutions of kernels and networks, L")
    patch_size: Positive = Field(3, description="patch size q")
    rfm: RFMSection = Field(default_factory=RFMSection, description="the kernels that learn")
    cnn: CNNSettings = Field(description="the networks to compare with")

    def networks(self, optimizer: str, sigma: float) -> int:
        """How many of the seeds train a network with an optimizer ("adam" or "sgd") at a noise level."""
        more: int | None = getattr(self.cnn, optimizer).seeds_in_most_noise
        return more if more is not None and sigma == max(self.sigmas) else self.cnn.seeds

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        self.rfm.check(self.depth)
        return self

    @field_validator("sigmas")
    @classmethod
    def _sigmas_tell_runs_apart(cls, sigmas: list[float]) -> list[float]:
        names = [run_name({"sigma": sigma}) for sigma in sigmas]
        if len(set(names)) < len(names):
            msg = "each noise level may stand there only once, and they must differ in their first six digits"
            raise ValueError(msg)
        if max(sigmas) == 0:
            msg = "at least one noise level must be above 0"
            raise ValueError(msg)
        return sigmas


class Fig05(Model):
    """Figure 5, local signal adaptivity."""

    panels: list[LocalSignalPanel] = Field(min_length=1, description="one panel for each task")

    @field_validator("panels")
    @classmethod
    def _one_panel_for_each_task(cls, panels: list[LocalSignalPanel]) -> list[LocalSignalPanel]:
        check_each_once([panel.task for panel in panels], "each task may have one panel only, but the tasks are")
        return panels

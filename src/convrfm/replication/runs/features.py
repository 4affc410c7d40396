"""What the first layer learns: ConvRFM and plain networks on prepared images, for Figures 3, 10, 11 and 12."""

from typing import TYPE_CHECKING

from convrfm.replication.runs.fits import of_kernel
from convrfm.replication.runs.kinds import Keys, RunKind, RunSettings
from convrfm.replication.runs.networks import NetworkSettings

if TYPE_CHECKING:
    from convrfm.replication.plan.plan import Plan

__all__ = ["KINDS", "FeatureFitSettings", "FeatureNetworkSettings"]


class FeatureFitSettings(RunSettings):
    """What a fit sees of the configuration.

    Attributes:
        dataset: its name.
        kernel: "cntk" or "laplace".
        rounds, ridges: see `convrfm.rfm.rounds.RFMSettings`.
        patch_size: q.
        depth: L of the CNTK; None for the Laplace kernel.
        bandwidth: of the Laplace kernel; None for the CNTK.
        backend, memory_mb: of the kernels.
    """

    dataset: str
    kernel: str
    rounds: int
    ridges: list[float]
    patch_size: int
    depth: int | None = None
    bandwidth: float | None = None
    backend: str
    memory_mb: int | None


class FeatureNetworkSettings(NetworkSettings):
    """What the training of the network sees of the configuration."""

    dataset: str


def _images(plan: "Plan", w: Keys) -> list[str]:
    return [plan.feature_images(w["protocol"], w["dataset"], w["seed"])]


def _of_fit(plan: "Plan", w: Keys) -> FeatureFitSettings:
    task = plan.feature_tasks[w["dataset"]]
    is_cntk = w["kernel"] == "cntk"
    return FeatureFitSettings(
        **task.model_dump(include={"dataset", "rounds", "ridges"}),
        kernel=w["kernel"], protocol=w["protocol"], seed=int(w["seed"]),
        patch_size=task.patch_size if is_cntk else task.laplace_patch_size,
        depth=task.depth if is_cntk else None,
        bandwidth=None if is_cntk else task.bandwidth,
        **of_kernel(plan),
    )  # fmt: skip


def _of_network(plan: "Plan", w: Keys) -> FeatureNetworkSettings:
    task = plan.feature_tasks[w["dataset"]]
    return FeatureNetworkSettings(
        **task.model_dump(include={"dataset", "depth", "patch_size"}), **task.network.model_dump(),
        protocol=w["protocol"], seed=int(w["seed"]), device=plan.settings.config.device,
    )  # fmt: skip


KINDS = (
    RunKind(
        "features", "features:fit_metric", ("dataset", "kernel", "seed"), {"images": _images}, _of_fit
    ),
    RunKind(
        "feature-network", "networks:train_feature_network", ("dataset", "seed"),
        {"images": _images}, _of_network,
    ),
)  # fmt: skip

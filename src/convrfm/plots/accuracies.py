"""What counts as the accuracy of a method: the one reading of the histories that kernels and networks leave."""

from typing import Any

import pandas as pd

__all__ = ["chosen", "deep_stage", "how_chosen", "kernel_parts", "network_row", "selection_score"]


def deep_stage(stage: int) -> str:
    """Name of a stage of Deep ConvRFM by itself, from 1 on."""
    return f"Deep ConvRFM, stage {stage}"


def selection_score(protocol: str) -> str:
    """The column of a kernel's history that chooses ridge and round."""
    return "test_accuracy" if protocol == "published" else "validation_accuracy"


def how_chosen(protocol: str) -> str:
    """By what ridge, round and epoch are chosen, in words."""
    if protocol == "published":
        return "by test accuracy, as in the paper"
    return "on a validation split of the training images"


def kernel_parts(history: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The part of a Deep ConvRFM's history that each method may choose from.

    CNTK is round 0 of stage 0, ConvRFM the later rounds, and a Deep stage has its own rounds: no method chooses from the
    rounds of one that it is compared with.

    Args:
        history: from `convrfm.deep_rfm.history_of`.
    """
    return {
        "CNTK": history[(history["stage"] == 0) & (history["round"] == 0)],
        "ConvRFM": history[(history["stage"] == 0) & (history["round"] >= 1)],
        **{deep_stage(stage): part for stage, part in history.groupby("stage") if stage > 0},
    }


def chosen(part: pd.DataFrame, score: str) -> dict[str, Any]:
    """The row of a method: its best ridge and round, the earliest of equals; and its last round.

    Args:
        part: from `kernel_parts`.
        score: the column that chooses, from `selection_score`.

    Returns:
        `accuracy` and `last_accuracy` of the test images, `chosen` (the round), `ridge`.
    """
    best = part.loc[part[score].idxmax()]
    last = part[part["round"] == part["round"].max()]
    return {
        "accuracy": best["test_accuracy"],
        "last_accuracy": last.loc[last[score].idxmax(), "test_accuracy"],
        "chosen": int(best["round"]),
        "ridge": best["ridge"],
    }


def network_row(history: pd.DataFrame) -> dict[str, Any]:
    """The row of a network: the best epoch, as the paper reports it, and the last one; fields as from `chosen`."""
    trained = history[history["epoch"] > 0]
    best = trained.loc[trained["selection_accuracy"].idxmax()]
    return {
        "accuracy": best["test_accuracy"],
        "last_accuracy": trained["test_accuracy"].iloc[-1],
        "chosen": int(best["epoch"]),
        "ridge": float("nan"),
    }

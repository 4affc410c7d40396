"""How the entries of a fit that others can compute anew lie on disk, beside its metrics.

By stage and round: `witness/gram/<stage>/<round>/{rows,columns,entries}`, of `convrfm.witness.GramWitness`, and
`witness/agop/<stage>/<round>/{alpha,points,entries,block}`, of `convrfm.witness.AgopWitness`, where the AGOP of a round gives
the metric of the next. By stage: `witness/best/<stage>/{round,ridge,scale,alpha,outputs}`, of the predictor that is reported:
coefficients `(n, outputs)` float64 for the kernel divided by `scale`, and what it gives for the test images `(m, outputs)`
float64.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from convrfm.rfm import StageResult
from convrfm.witness import AgopWitness, GramWitness

__all__ = ["PREFIX", "part_of", "witness_arrays"]

PREFIX = "witness"


def witness_arrays(result: StageResult, stage: int, *, with_agops: bool) -> dict[str, np.ndarray]:
    """The arrays of one stage.

    Args:
        result: of the stage.
        stage: its number, from 0.
        with_agops: whether those of the AGOPs are among them.
    """
    outputs = {} if result.outputs is None else {"outputs": result.outputs}
    best = {
        "round": np.array(result.best_round),
        "ridge": np.array(result.best_ridge),
        "scale": np.array(result.scale),
        "alpha": result.alpha,
        **outputs,
    }
    arrays = {f"{PREFIX}/best/{stage}/{name}": array for name, array in best.items()}
    kinds: dict[str, Sequence[GramWitness | AgopWitness]] = {
        "gram": result.grams,
        "agop": result.agops if with_agops else [],
    }
    for kind, witnesses in kinds.items():
        for t, witness in enumerate(witnesses):
            parts: dict[str, np.ndarray] = asdict(witness)
            arrays |= {f"{PREFIX}/{kind}/{stage}/{t}/{name}": array for name, array in parts.items()}
    return arrays


def part_of(arrays: Mapping[str, np.ndarray], *path: object) -> dict[str, np.ndarray]:
    """The arrays below a path, such as ("gram", 0, 1), by the rest of their names; empty where there is none."""
    start = "/".join([PREFIX, *map(str, path), ""])
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}

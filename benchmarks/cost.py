"""What the paper's route to the patch-AGOP costs beside the closed form; writes benchmarks/cost.csv and its record.

    python benchmarks/cost.py --machine "two cores of ..."     about two minutes
    python benchmarks/cost.py --small                          a first look at a tenth of the size; writes nothing

The audit reads the table for claim A15. Images of 32 x 32 pixels in 3 channels, a CNTK of depth 3, float32; the authors'
procedure (one reverse pass for each output on patch-expanded images) is that of `kernels.py`. Low and high are the range
of the ratio over the repetitions of both.
"""

import argparse
import os
import statistics
from pathlib import Path

import pandas as pd
from kernels import CHANNELS, OUTPUTS, PATCH_SIZE, SIDE, alone, our_agop, their_agop
from measuring import photographs

from convrfm.kernels.neural_tangents import expand_patches
from convrfm.numerics.patches import unfold
from convrfm.replication.record.received import COST_TABLE, cost_recorder, write_cost_record
from convrfm.system.storage import write_table

CHECKOUT = Path(__file__).parents[1]


def row(quantity: str, what: str, ours: list[float], theirs: list[float]) -> dict[str, object]:
    """One ratio, with its range over repetitions."""
    mine, other = statistics.median(ours), statistics.median(theirs)
    return {
        "quantity": quantity,
        "what": what,
        "ours": mine,
        "theirs": other,
        "ratio": other / mine,
        "low": min(theirs) / max(ours),
        "high": max(theirs) / min(ours),
    }


def measure(n: int, points: int, repetitions: int) -> list[dict[str, object]]:
    """The three ratios."""
    pictures = photographs(n, SIDE)
    expanded = expand_patches(unfold(pictures, PATCH_SIZE), CHANNELS, PATCH_SIZE)
    closed = alone(our_agop, n, points, repetitions, True)
    each, one = (alone(their_agop, n, points, outputs) for outputs in (OUTPUTS, 1))
    size = f"{n} images, {points} points"
    return [
        row("memory", f"bytes of {n} images expanded into patches over those of the images",
            [float(pictures.nbytes)], [float(expanded.nbytes)]),
        row("time", f"seconds of the authors' patch-AGOP over the closed form's, {size}, {OUTPUTS} outputs", closed, each),
        row("classes", f"seconds of the authors' patch-AGOP with {OUTPUTS} outputs over those with one, {size}", one, each),
    ]  # fmt: skip


def main() -> None:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description="Cost of patch expansion and of the AGOP class by class.")
    parser.add_argument("--small", action="store_true", help="a tenth of the size; nothing is written")
    parser.add_argument("--machine", default=f"{os.cpu_count()} processors", help="the machine in words")
    parser.add_argument("--repetitions", type=int, default=15, help="repetitions of the closed form")
    arguments = parser.parse_args()
    n, points = (20, 2) if arguments.small else (200, 20)
    settings = {"n": n, "points": points, "repetitions": arguments.repetitions, "machine": arguments.machine}
    recorder = cost_recorder(CHECKOUT, settings)
    table = pd.DataFrame(measure(n, points, arguments.repetitions)).assign(machine=arguments.machine)
    print(table.to_string())
    if not arguments.small:
        write_table(CHECKOUT / COST_TABLE, table)
        write_cost_record(recorder, CHECKOUT)


if __name__ == "__main__":
    main()

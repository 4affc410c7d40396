"""How long fits of ConvRFM and Deep ConvRFM take on one core, and what is estimated; writes docs/benchmarks_minutes.md.

python benchmarks/minutes.py --machine "one core of ..."     about five minutes
python benchmarks/minutes.py --small                         fits that take seconds; writes nothing

Seconds are those of the CPU: on a shared machine, those on the clock say little.
"""

import argparse
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from memory import BARS, CLASSES, COLOUR, DIGITS, FRAMED, Case, fit

from convrfm.replication.cluster.fits import FitSize, fit_minutes, fit_work
from convrfm.replication.config.costs import Costs
from convrfm.replication.plan.fits import FEW, IMAGES_PER_THREAD
from convrfm.system.machine import limited_threads

CASES = (
    Case(150, 150, FRAMED, stages=3, filters=8, ridges=3),
    Case(1000, 1000, DIGITS, protocol="published"),
    Case(1000, 500, DIGITS),
    Case(1500, 500, COLOUR, ridges=3, protocol="published"),
    Case(500, 500, BARS, stages=3, filters=64, ridges=3, protocol="published"),
    Case(500, 500, BARS, stages=2, filters=64, ridges=3),
    Case(500, 500, DIGITS, stages=2, filters=64, protocol="published"),
)

PAGE = Path(__file__).parents[1] / "docs/benchmarks_minutes.md"


def measure(case: Case) -> float:
    """Seconds of one core that a fit takes once its kernels are compiled."""
    with limited_threads(1):
        fit(case, 40, 20)
        before = time.process_time()
        fit(case, case.n_train, case.n_test)
        return time.process_time() - before


def alone(case: Case) -> float:
    """The same in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, case).result()


def estimate(case: Case) -> float:
    """Seconds that the workflow expects a fit to take on one core, beside the start of its job."""
    size, rates = FitSize(case.settings, case.n_train, case.n_test, case.shape, CLASSES), Costs().cpu
    return 60 * (fit_minutes(fit_work(size), rates, threads=1) - rates.start)


def row(case: Case, seconds: float) -> str:
    """One line of the table."""
    sizes = f"{case.n_train}, {case.n_test} | {'x'.join(map(str, case.shape))} | {case.stages} | {case.filters} | {case.ridges}"
    seconds, expected = round(seconds, 1), estimate(case)  # the ratio is that of the shown seconds
    return f"| {sizes} | {case.protocol} | {seconds:.1f} | {expected:.1f} | {expected / seconds:.2f} |"


def page(rows: list[str], machine: str) -> str:
    """The page of the documentation."""
    rates = Costs().cpu
    table = "\n".join(
        f"| `{name}` | {getattr(rates, name):g} | {info.description} |"
        for name, info in type(rates).model_fields.items()
        if name not in ("start", "by_thread")
    )
    return f"""# Minutes of fits
The rules that fit kernels request minutes that follow from the size of the fit (`convrfm.replication.cluster.fits`): each
kind of work is counted from the settings and divided by the rates in `costs.cpu` or `costs.gpu`. `snakemake -c1 cost`
shows the same minutes. The table compares them with real fits to noise, in CPU seconds after compilation. CNTK
of depth 3, patches of 3x3 pixels, float32, three rounds. Written by `python benchmarks/minutes.py`, on
{machine}.

| training, test images | image | stages | filters | ridges | protocol | measured, s | estimate, s | ratio |
|---|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}

Rates of one core, in units of 10^9 a second:

| rate | value | of |
|---|---|---|
{table}

- Processors without AVX-512 take two or three times as long. Jobs request three times the estimate. If your rates differ, set
  them under `overrides`. Minutes that a preset or `overrides` gives for a rule take precedence.
- The rates of a GPU are estimated from its arithmetic, not measured. They apply if `backend` is cuda, or auto with
  `costs.fits_on: gpu`.
- Fits to {FEW} and more training images take more threads than `threads`: one for each {IMAGES_PER_THREAD["cpu"]} of them, or
  for each {IMAGES_PER_THREAD["gpu"]} with a GPU, up to `costs.most_threads` and the cores of Snakemake. The estimate
  assumes that threads share all CPU work.
- The backends `reference`, `torch` and `neural-tangents` take many times as long: set their minutes under `overrides`.
"""


def main() -> None:
    """Measure all cases, and write the page."""
    parser = argparse.ArgumentParser(description="Minutes of fits, measured and estimated.")
    parser.add_argument("--small", action="store_true", help="the first cases; nothing is written")
    parser.add_argument("--machine", default=f"one of {os.cpu_count()} processors", help="the machine in words")
    arguments = parser.parse_args()
    rows = []
    for case in CASES[:2] if arguments.small else CASES:
        rows.append(row(case, alone(case)))
        print(rows[-1], flush=True)
    if not arguments.small:
        PAGE.write_text(page(rows, arguments.machine))


if __name__ == "__main__":
    main()

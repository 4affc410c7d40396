"""Which published networks the ansatz engine serves, in how much memory, and how exactly; writes docs/benchmarks_networks.md.

    python benchmarks/networks.py --machine "two cores of ..."     everything
    python benchmarks/networks.py --only vgg11 timm/mixnet_s       a first look at some networks; writes nothing

All classification networks of torchvision and some of timm, each in a process of its own, with random weights. The exact
AGOP of some is compared with its definition, Jacobians with respect to patches (`tests/ansatz/brute_force.py`).
"""

import argparse
import multiprocessing
import re
import resource
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torchvision
from published import FOR_THE_DEFINITION, IMAGES, LIMITS, TIMM, Case, cases
from threadpoolctl import threadpool_limits
from torch import nn

from convrfm.ansatz.agop import measure
from convrfm.ansatz.summaries import correlations
from convrfm.errors import ConvRFMError, ConvRFMWarning

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from ansatz.brute_force import called_agop

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks_networks.md"
COMPARED = 5
"""Layers of each network that are compared with patch Jacobians: the first, the last, and some between."""

MOST_BYTES = 14 * 2**30
"""Address space of a process: a network that needs more ends with an error of its own instead of the machine."""


def peak(what: str) -> float:
    """A line of /proc/self/status in MB: VmHWM, the peak since it was reset, or VmRSS."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    return int(found[1]) / 1024


def served(case: Case) -> dict[str, Any]:
    """Measure a network in this process."""
    images = case.images()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = without_zeros(case.network())
    layers = None
    if case.within:
        modules = model.named_modules()
        layers = [name for name, module in modules if isinstance(module, nn.Conv2d) and name.startswith(case.within)]
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before = peak("VmRSS")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ConvRFMWarning)
        try:
            table = correlations(measure(model, images, layers=layers, **case.settings))
        except ConvRFMError as error:
            return {"refused": f"{type(error).__name__}: {error}"}
    return {
        "layers": len(table),
        "undefined": int(table["value"].isna().sum()),
        "warnings": [str(warning.message) for warning in caught],
        "rise": peak("VmHWM") - before,
        "peak": peak("VmHWM"),
    }


def in_processes(work: Iterable[tuple[Any, Callable[[], Any]]], at_once: int) -> Iterator[tuple[Any, Any]]:
    """Do each piece of work in a forked process; gives its key and what came of it, or a sentence if it died."""
    context = multiprocessing.get_context("fork")
    waiting, running = list(work)[::-1], {}
    while waiting or running:
        while waiting and len(running) < at_once:
            key, task = waiting.pop()
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_child, args=(theirs, task))
            process.start()
            theirs.close()
            running[ours] = (key, process)
        for ours in wait(running):
            key, process = running.pop(ours)
            try:
                found = ours.recv()
            except EOFError:
                process.join()
                found = {"fault": f"the process died (exit code {process.exitcode})"}
            process.join()
            yield key, found


def _child(theirs: Connection, task: Callable[[], Any]) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            theirs.send(task())
    except BaseException as error:  # noqa: BLE001
        theirs.send({"fault": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()})


def differences(case: Case) -> dict[str, Any]:
    """Compare the exact AGOP of some layers with patch Jacobians, in float64."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = without_zeros(case.network().double())
    images = case.images().double()
    found = measure(model, images)
    names = list(found)
    chosen = {names[round(place)] for place in np.linspace(0, len(names) - 1, COMPARED)}
    errors = []
    for name in chosen:
        expected = called_agop(model, name, images).numpy()
        errors.append(np.abs(found[name].agop.dense() - expected).max() / np.abs(expected).max())
    return {"layers": len(names), "compared": len(chosen), "worst": float(np.max(errors))}


def without_zeros(model: nn.Module) -> nn.Module:
    """Draw what is zero at the initialisation, such as biases and the last gain of a residual branch, and statistics."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.3, generator=generator)
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean.normal_(std=0.1, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
    return model


def table_of_limits(found: dict[Any, dict[str, Any]]) -> list[str]:
    """Rows of a table."""
    words = {"rise": "rise of the peak", "peak": "peak of the whole process"}
    lines = ["| network | what | MB | at most | held |", "|---|---|---|---|---|"]
    for name, what, most in LIMITS:
        value = found["limit", name].get(what, float("inf"))
        lines.append(f"| {name} | {words[what]} | {value:.0f} | {most} | {'yes' if value < most else '**no**'} |")
    return lines


def table_of_differences(found: dict[Any, dict[str, Any]]) -> list[str]:
    """Rows of a table."""
    lines = ["| network | layers | of them compared | largest difference |", "|---|---|---|---|"]
    for case in FOR_THE_DEFINITION:
        row = found["difference", case.title]
        lines.append(
            f"| {case.title} | {row['layers']} | {row['compared']} | {row['worst']:.1e} |"
            if "worst" in row
            else f"| {case.title} | | | **{_sentence(row)}** |"
        )
    return lines


def table_of_networks(found: dict[Any, dict[str, Any]]) -> list[str]:
    """Rows of a table, and of one of what was refused."""
    lines = ["| network | pixels | layers | rise, MB | peak, MB | remarks |", "|---|---|---|---|---|---|"]
    for case in cases():
        row = found["served", case.title]
        if "layers" in row:
            numbers = f"{row['layers']} | {row['rise']:.0f} | {row['peak']:.0f} | {_remarks(case, row)}"
        else:
            numbers = f"{'refused' if 'refused' in row else '**failed**'} | | | {_sentence(row)}"
        lines.append(f"| {case.title} | {case.side} | {numbers} |")
    return lines


def _remarks(case: Case, row: dict[str, Any]) -> str:
    remarks = [f"Only the layers in {', '.join(case.within)}."] if case.within else []
    if row["undefined"]:
        remarks.append(f"NaN: {row['undefined']}.")
    # What to do about it is left out.
    return " ".join(remarks + [_short(warning.partition(". ")[0] + ".") for warning in row["warnings"]])


def _sentence(row: dict[str, Any]) -> str:
    return _short(row.get("refused") or row["fault"])


def _short(text: str, most: int = 3) -> str:
    """A message in one line of a table, with lists of many names cut short."""
    names = r"'[^']*'(?: \([^)]*\))?"
    text = re.sub(
        rf"{names}(?:, {names}){{{most},}}",
        lambda found: ", ".join([*re.findall(names, found[0])[:most], f"… ({len(re.findall(names, found[0]))} names)"]),
        text,
    )
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def tasks() -> dict[tuple[str, str], Callable[[], dict[str, Any]]]:
    """All pieces of work."""
    work = {("limit", name): partial(served, Case(name, settings={"mode": "probe"})) for name, _, _ in LIMITS}
    work |= {("difference", case.title): partial(differences, case) for case in FOR_THE_DEFINITION}
    return work | {("served", case.title): partial(served, case) for case in cases()}


def page(found: dict[Any, dict[str, Any]], machine: str) -> str:
    """The page, from what came of each piece of work."""
    rows = [row for (what, _), row in found.items() if what == "served"]
    return "\n".join(
        [
            "# Published networks and the ansatz engine",
            "",
            (
                f"Measured on {machine} by `python benchmarks/networks.py`, with PyTorch {torch.__version__}, "
                f"torchvision {torchvision.__version__} and timm {timm.__version__}."
            ),
            "",
            (
                f"All classification networks of torchvision, and {len(TIMM)} of timm that differ in kind, with random weights "
                f"and {IMAGES} photographs, in float32: {sum('layers' in row for row in rows)} work, "
                f"{sum('refused' in row for row in rows)} are refused, {sum('fault' in row for row in rows)} fail. "
                "GoogLeNet and Inception appear twice, with and without the heads that only training uses. Weights that are "
                "zero at initialisation, such as the last gain of a residual branch, are drawn at random."
            ),
            "",
            "## Limits",
            "`measure` in probe mode with its default settings, then `correlations`, on images of 64 pixels.",
            "",
            *table_of_limits(found),
            "",
            "## Against the definition",
            (
                "The exact AGOP in float64 against its definition. Brute force replaces the call of "
                "`torch.nn.functional.conv2d` in one layer by the product of its filters and the patches of its input, and "
                "differentiates three outputs with respect to these patches. The difference is the largest over all entries, "
                "as a fraction of the largest entry, for the first layer, the last, and some between. Images have 32 pixels."
            ),
            "",
            *table_of_differences(found),
            "",
            "## Memory, and what is refused",
            (
                "Each network runs in a separate process, with one thread. *Rise* is the increase of peak memory by `measure` "
                "and `correlations`, beyond the loaded network; *peak* includes the network and the libraries. Settings are "
                "four probes in two blocks and 1000 classes, unless remarked. More probes take time but no memory; each block "
                "takes memory, and eight are the default. A correlation is NaN if so few probes do not suffice."
            ),
            "",
            *table_of_networks(found),
            "",
        ]
    )


def main() -> None:
    """Measure, print, and write the page if a machine is named."""
    parser = argparse.ArgumentParser(description="Published networks and the ansatz engine.")
    parser.add_argument("--only", nargs="*", help="names of networks; nothing is written")
    parser.add_argument("--machine", help="the machine in words; the page is written if it is given")
    parser.add_argument("--at-once", type=int, default=2, help="processes")
    arguments = parser.parse_args()
    work = tasks()
    if arguments.only:
        work = {key: task for key, task in work.items() if key[1] in arguments.only}
    found = {}
    for key, row in in_processes(work.items(), arguments.at_once):
        print(*key, row, flush=True)
        found[key] = row
    if arguments.only:
        return
    if arguments.machine:
        PAGE.write_text(page(found, arguments.machine))


if __name__ == "__main__":
    main()

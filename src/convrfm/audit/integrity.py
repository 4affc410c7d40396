"""Integrity: are the results what their records say, and are they of today's configuration, code and environment?

Four kinds of wrong are told apart, see `convrfm.audit.outcome.State`. Every finding names one file.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from pyarrow.parquet import read_metadata

from convrfm.audit.commands import rebuild, remove
from convrfm.audit.currency import asked_for, check_currency, expected_of, locked_versions
from convrfm.audit.files import Hashes, check_inputs, check_outputs, unknown_files
from convrfm.audit.outcome import Finding, State
from convrfm.audit.records import Product, find_products, in_order
from convrfm.audit.redrawn import check_csv, check_redrawn
from convrfm.audit.seal import check_seal
from convrfm.datasets.places import STATE as DATA_STATE
from convrfm.pipeline.config import Settings
from convrfm.pipeline.cost_record import COST_TABLE, cost_trouble
from convrfm.pipeline.plan.base import Plan, recorded_state
from convrfm.pipeline.plan.table import FIGURES
from convrfm.pipeline.record import CHECKOUT

__all__ = ["check_integrity"]

LOCK = Path("envs") / "lock.txt"


def check_integrity(
    project: Path, settings: Settings, *, place: Path | None = None
) -> tuple[tuple[Finding, ...], dict[str, int]]:
    """Check the results of a preset.

    Nothing is written, and nothing is run but the drawing of tables, in a temporary folder.

    Args:
        project: the folder of the project, which holds the states of data, and, where it is a checkout, `envs/lock.txt`.
        settings: the configuration, resolved.
        place: the folder that holds `results/<preset>`, where that is not the project: results that wait to be taken in.

    Returns:
        What is wrong, with runs and figures after those that they were made from, and how many things of each kind were looked
        at: "records", "artefacts" (files hashed against their record), "inputs", "figures drawn anew" and "table cells".
    """
    plan = Plan(settings, recorded_state(settings, project))
    where = place or project
    hashes, counts = Hashes(where), Counter[str]()
    findings: list[Finding] = []
    found = list(find_products(where, plan.results))
    products = {file: product for product, _ in found for file in (product.record_file, *product.files.values())}
    asked = asked_for(plan)
    # Elsewhere (`snakemake --directory`) there is none: then that of the checkout whose code this is.
    locked = locked_versions(next((root / LOCK for root in (project, CHECKOUT) if (root / LOCK).exists()), None))
    findings += [*unknown_files(where, plan.results, set(products)), *check_seal(where, plan.results)]
    wrong = {product.name: own for product, own in found}
    # So that remedies can be followed one after the other.
    for product in in_order([product for product, _ in found]):
        own = wrong[product.name]
        if product.name not in asked:
            missed = "Nothing in the configuration asks for it any more, or what asked for it was not built."
            own.append(Finding(State.ORPHANED, product.record_file, missed))
        counts["records"] += 1
        if product.record is not None:
            counts["artefacts"] += len(product.files)
            counts["inputs"] += len(product.record.inputs)
            files = [*check_outputs(product, hashes), *check_inputs(product, products, hashes)]
            expected = expected_of(product, plan)
            stale = [] if expected is None else list(check_currency(product, expected, locked))
            own += files + stale
            if product.is_figure:
                own += _check_figure(where, product, files, hashes, counts, stale=bool(stale or expected is None))
        # Snakemake builds nothing that no plan asks for.
        removal = f"{remove(product.name, beginning=product.is_figure)}, or change the configuration back."
        remedy = rebuild(product.record_file) if product.name in asked else removal
        findings += [replace(finding, remedy=remedy) for finding in own]
    # What waits to be taken in has no part in it.
    if place is None and (trouble := cost_trouble(project)) is not None:
        findings.append(Finding(State(trouble[0]), COST_TABLE, trouble[1], "python benchmarks/cost.py"))
    unique = {(finding.file, finding.state, finding.found): finding for finding in reversed(findings)}
    return tuple(reversed(unique.values())), dict(counts)


def _check_figure(
    project: Path, product: Product, own: list[Finding], hashes: Hashes, counts: Counter[str], *, stale: bool
) -> list[Finding]:
    """Compare the parts of a figure with each other and with its runs, unless something is wrong with either already.

    Of a figure that the plan does not know nothing can be said: it is an orphan.
    """
    record = product.record
    assert record is not None
    if product.kind not in FIGURES or {finding.file for finding in own} & set(product.files.values()):
        return []
    found = list(check_csv(project, product))
    runs = [described for described in record.inputs.values() if Path(described.path).name != DATA_STATE]
    if found or own or any(hashes[described.path] != described.sha256 for described in runs):
        return found
    counts["figures drawn anew"] += 1
    table = read_metadata(project / product.files["parquet"])
    counts["table cells"] += table.num_rows * table.num_columns
    return list(check_redrawn(project, product, stale=stale))

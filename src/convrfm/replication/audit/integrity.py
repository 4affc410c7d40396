"""Integrity: are the results what their records say, and are they of today's configuration, code and environment?

Four kinds of wrong are told apart, see `convrfm.replication.audit.outcome.State`. Every finding names one file.
"""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from convrfm.replication.audit.commands import rebuild, remove
from convrfm.replication.audit.currency import asked_for, check_currency, expected_of, lock_of, locked_versions
from convrfm.replication.audit.files import Hashes, check_inputs, check_outputs, unknown_files
from convrfm.replication.audit.outcome import Finding, State
from convrfm.replication.audit.records import Product, find_products, in_order
from convrfm.replication.audit.seal import check_seal, merkle_root, record_hashes
from convrfm.replication.plan.plan import Plan
from convrfm.replication.record.received import COST_TABLE, cost_trouble

__all__ = ["Integrity", "check_integrity"]


@dataclass(frozen=True)
class Integrity:
    """What was found of the files of a results folder.

    Attributes:
        findings: what is wrong, with runs and figures after those that they were made from.
        products: all runs and figures, in that order.
        sound: those of them without a finding, whose inputs are what their records say: they can be computed again.
        checked: how many things of each kind were looked at: "records", "artefacts" (files hashed against their record) and
            "inputs".
        root: Merkle root of all records, hex, see `convrfm.replication.audit.seal`.
    """

    findings: tuple[Finding, ...]
    products: tuple[Product, ...]
    sound: tuple[Product, ...]
    checked: dict[str, int]
    root: str


def check_integrity(project: Path, plan: Plan, *, place: Path | None = None) -> Integrity:
    """Check the results of a preset. Nothing is written, and nothing is run.

    Args:
        project: the folder of the project, which holds the states of data, and, where it is a checkout, `envs/lock.txt`.
        plan: what the configuration asks for.
        place: the folder that holds `results/<preset>`, where that is not the project: results that wait to be taken in.
    """
    where = place or project
    hashes, counts = Hashes(where), Counter[str]()
    found = {product.name: (product, own) for product, own in find_products(where, plan.results)}
    products = {
        file: product for product, _ in found.values() for file in (product.record_file, *product.files.values())
    }
    asked = asked_for(plan)
    locked = locked_versions(lock_of(project))
    leaves = record_hashes(hashes, plan.results)
    findings = [*unknown_files(where, plan.results, set(products)), *check_seal(where, plan.results, leaves)]
    sound = []
    # So that remedies can be followed one after the other.
    ordered = in_order([product for product, _ in found.values()])
    for product in ordered:
        own = found[product.name][1]
        if product.name not in asked:
            missed = "Nothing in the configuration asks for it any more, or what asked for it was not built."
            own.append(Finding(State.ORPHANED, product.record_file, missed))
        counts["records"] += 1
        expected = expected_of(product, plan)
        if product.record is not None:
            counts["artefacts"] += len(product.files)
            counts["inputs"] += len(product.record.inputs)
            own += check_outputs(product, hashes)
            own += check_inputs(product, products, hashes)
            own += [] if expected is None else check_currency(product, expected, locked)
        if not own and expected is not None and _inputs_are_there(product, hashes):
            sound.append(product)
        # Snakemake builds nothing that no plan asks for.
        removal = f"{remove(product.name, beginning=product.is_figure)}, or change the configuration back."
        remedy = rebuild(product.record_file) if product.name in asked else removal
        findings += [replace(finding, remedy=remedy) for finding in own]
    # What waits to be taken in has no part in it; and where it is only of older kernels, its claim is not decided, no more.
    if place is None and (trouble := cost_trouble(project)) is not None and State(trouble[0]) is not State.STALE:
        findings.append(Finding(State(trouble[0]), COST_TABLE, trouble[1], "python benchmarks/cost.py"))
    unique = {(finding.file, finding.state, finding.found): finding for finding in reversed(findings)}
    return Integrity(tuple(reversed(unique.values())), tuple(ordered), tuple(sound), dict(counts), merkle_root(leaves))


def _inputs_are_there(product: Product, hashes: Hashes) -> bool:
    """Whether all inputs are what they were, but for states of data, which each look at them writes anew."""
    assert product.record is not None
    return all(hashes[described.path] == described.sha256 for described in product.record.made_from.values())

"""Judges on what the workflow itself has written: tables and judges agree on columns."""

from convrfm.replication.audit.judging import judge
from convrfm.replication.claims.verdicts import Verdict

NOT_BUILT = ("A15", "P-")
"""Claims that rest on a benchmark, or on sizes that the preset does not have."""


def test_judges_read_every_table_under_both_protocols(built):
    found = judge(built.results, "quick", ["published", "corrected"])
    read = [each for each in found if not each.claim.startswith(NOT_BUILT)]
    assert {each.verdict for each in found if each not in read} == {Verdict.UNKNOWN}
    assert len(read) == 1 + 2 * 14
    # The tiny preset has one patch size and not every kind of pooling: A5 has nothing to compare, and its judge says so.
    compared = [each for each in read if each.claim != "A5"]
    assert len(compared) == len(read) - 2
    for each in compared:
        assert each.measurements, each
        for trouble in ("lacks", "malformed", "cannot be read", "no record", "has not been built", "where one is due"):
            assert trouble not in each.reason, each
        files = [source for measurement in each.measurements for source in measurement.sources]
        assert all((built.root / source).is_file() for source in files)


def test_stand_ins_are_told_from_the_papers_data(built):
    """Noisy bars and Theorem 1 are the paper's; nothing else is in the tiny preset, whose Figure 6 has no bars."""
    found = judge(built.results, "quick", ["published"])
    comparable = {each.claim for each in found if any(measurement.comparable for measurement in each.measurements)}
    assert comparable == {"A6", "A9", "A10"}
    assert all(
        measurement.what.startswith("Noisy bars") == measurement.comparable
        for each in found
        if each.claim in ("A9", "A10")
        for measurement in each.measurements
    )

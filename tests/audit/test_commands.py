"""Calls that the audit tells people to make."""

from convrfm.replication.audit.records import rebuild


def test_the_call_that_builds_a_run_or_figure_anew():
    figure = "results/quick/figures/published/fig05.json"
    assert rebuild(figure) == f"snakemake -c2 --force --config preset=quick protocol=published -- {figure}"
    run = "results/quick/runs/rfm/published/a b/record.json"
    assert rebuild(run) == f"snakemake -c2 --force --config preset=quick protocol=published -- '{run}'"
    run = "results/anchors/runs/rfm/corrected/task=bars,sigma=1,seed=0/record.json"
    assert rebuild(run) == f"snakemake -c2 --force --config preset=anchors protocol=corrected -- {run}"

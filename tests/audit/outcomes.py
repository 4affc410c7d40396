"""Audits made by hand, and pages about them."""

import math
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from audit.tiny import FIGURES, RESULTS, RUN
from convrfm.replication.audit.judging import Judgement
from convrfm.replication.audit.outcome import Audit, Coverage, Deviation, Finding, Replay, Result, State
from convrfm.replication.audit.page import render_page
from convrfm.replication.audit.records import find_products
from convrfm.replication.claims.verdicts import Measurement, Verdict

MADE = datetime(2026, 11, 21, 20, 30, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> \"'></td></table>{{ 7*7 }} javascript:alert(3)"
LONG = "Überlänge, 漢字, Größe σ² ≥ ½ 🙂 " * 12 + "x" * 400


# Each of these with changes.

measurement = partial(replace, Measurement(
    what="Noisy bars, sigma = 1: ConvRFM over CNTK", value=5.8, unit="points", interval=(4.1, 7.5), margin=4.1,
    required="a 95 % interval above 0", holds=True, soft=False, comparable=True, over="draws",
    sources=(f"{FIGURES}/fig05.parquet", f"{RUN}/metrics.parquet"),
))  # fmt: skip

judgement = partial(replace, Judgement(
    claim="A10", title="feature learning overcomes noise", figure="fig05", protocol="published",
    sentence="ConvRFM is above CNTK at every noise level (Figure 5).", verdict=Verdict.REPRODUCED,
    condition="its gain has a 95 % interval above 0 at every noise level", reason="It holds at 3 of 3 noise levels.",
    failure_means="learning a metric on patches would not be what helps", measurements=(measurement(),),
    number="Noisy bars, sigma = 1: ConvRFM over CNTK: 5.8 [4.1, 7.5] points", data="Noisy bars: sigma = 1, n = 500/500",
    command="snakemake -c2 --config preset=quick protocol=published -- fig05",
))  # fmt: skip


def audit(**changes) -> Audit:
    values = {
        "preset": "quick", "results": RESULTS, "judgements": (judgement(),), "findings": (), "deviations": (), "root": "ab" * 32,
        "replays": (Replay(RUN, Result.EQUAL, "", 1.5),), "compared": "the release v0.1.0", "beacon": "",
        "checked": {"records": 1, "artefacts": 7}, **changes,
    }  # fmt: skip
    covered = tuple(Coverage(each.claim, each.protocol, 120, 12, 0.1, 0.7199999) for each in values["judgements"])
    return Audit(**{"coverage": covered, **values})


def every_kind() -> Audit:
    """One of each verdict and state, with and without figure and protocol, long, hostile, missing and not finite."""
    words = ("title", "sentence", "reason", "condition", "failure_means", "number", "data", "command")
    measured = (
        measurement(what=HOSTILE, required=HOSTILE, unit=HOSTILE, sources=(HOSTILE, "javascript:alert(4)", "/etc/hosts")),
        measurement(what=LONG, value=None, interval=None, margin=None, holds=None, comparable=False),
        measurement(what="not finite", value=math.nan, interval=(-math.inf, math.inf), margin=math.nan, holds=False),
        measurement(what="reported only", soft=True, holds=False, sources=tuple(f"{RUN}/part{i}" for i in range(40))),
    )  # fmt: skip
    judgements = (
        *(judgement(claim=f"A{i}", verdict=kind, title=f"claim that is {kind}") for i, kind in enumerate(Verdict)),
        judgement(claim="A10", protocol="corrected", measurements=()),
        judgement(claim="A20", figure=None, protocol=None, **dict.fromkeys(words, LONG)),
        judgement(claim="A21", figure="fig09", verdict=Verdict.UNKNOWN, reason="fig09 has not been built."),
        judgement(claim=HOSTILE, measurements=measured, **dict.fromkeys(words, HOSTILE)),
        judgement(claim="A22", measurements=tuple(measurement(what=f"case {i}", holds=i % 3 > 0) for i in range(30))),
    )
    findings = (
        *(Finding(state, f"{RUN}/{state}.parquet", "Its SHA-256 is 00, not 11.", "snakemake -c2") for state in State),
        Finding(State.TAMPERED, HOSTILE, HOSTILE, LONG),
    )
    replays = (
        Replay(f"{FIGURES}/fig05", Result.EQUAL, "", 0.5),
        Replay(RUN, Result.DIFFERENT, "metrics.parquet: row 0, column 'accuracy' is 0.999, not 0.708.", 2.0),
        *(Replay(f"{RUN}{result}", result, LONG, 2.0) for result in Result),
        Replay(HOSTILE, Result.IMPOSSIBLE, HOSTILE, 0.0),
    )
    deviations = tuple(Deviation("code", found) for found in ("Seeds were [0, 1, 2], and are [0].", HOSTILE, LONG))
    return audit(judgements=judgements, findings=findings, replays=replays, deviations=deviations, beacon=f"drand 42 {HOSTILE}")


def render(project, found=None, **pictures) -> str:
    return render_page(project, found or audit(), find_products(project, RESULTS), MADE, pictures)

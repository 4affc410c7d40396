"""Audits made by hand, and small trees of results for them to be about."""

import json
import math
from pathlib import Path

from PIL import Image

from convrfm.replication.audit.outcome import Audit, Coverage, Deviation, Finding, Replay, Result, State
from convrfm.replication.claims.judging import Judgement
from convrfm.replication.claims.verdicts import Measurement, Verdict

RESULTS = "results/quick"
RUN = f"{RESULTS}/runs/rfm/published/task=bars,sigma=1,seed=0"
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> \"'></td></table>{{ 7*7 }} javascript:alert(3)"
LONG = "Überlänge, 漢字, Größe σ² ≥ ½ 🙂 " * 12 + "x" * 400


def measurement(**changes) -> Measurement:
    values = {
        "what": "Noisy bars, sigma = 1: ConvRFM over CNTK",
        "value": 5.8,
        "unit": "points",
        "interval": (4.1, 7.5),
        "required": "a 95 % interval above 0",
        "margin": 4.1,
        "holds": True,
        "soft": False,
        "comparable": True,
        "sources": (f"{RESULTS}/figures/published/fig05.parquet", f"{RUN}/metrics.parquet"),
        "over": "draws",
    }
    return Measurement(**{**values, **changes})


def judgement(**changes) -> Judgement:
    values = {
        "claim": "A10",
        "title": "feature learning overcomes noise",
        "sentence": "ConvRFM is above CNTK at every noise level (Figure 5).",
        "figure": "fig05",
        "protocol": "published",
        "condition": "its gain has a 95 % interval above 0 at every noise level",
        "failure_means": "learning a metric on patches would not be what helps",
        "verdict": Verdict.REPRODUCED,
        "reason": "It holds at 3 of 3 noise levels.",
        "measurements": (measurement(),),
        "command": "snakemake -c2 --config preset=quick protocol=published -- fig05",
    }
    return Judgement(**{**values, **changes})


def audit(**changes) -> Audit:
    values = {
        "preset": "quick",
        "results": RESULTS,
        "judgements": (judgement(),),
        "findings": (),
        "replays": (Replay(RUN, Result.EQUAL, "", 1.5),),
        "deviations": (),
        "compared": "the release v0.1.0",
        "checked": {"records": 1, "artefacts": 7},
        "root": "ab" * 32,
        "beacon": "",
    }
    found = {**values, **changes}
    covered = tuple(Coverage(each.claim, each.protocol, 120, 12, 0.1, 0.7199999) for each in found["judgements"])
    return Audit(**{"coverage": covered, **found})


def every_kind() -> Audit:
    """One of each verdict and state, with and without figure and protocol, long, hostile, missing and not finite."""
    judgements = [
        judgement(claim=f"A{number}", verdict=verdict, title=f"claim that is {verdict}")
        for number, verdict in enumerate(Verdict)
    ]
    judgements += [
        judgement(claim="A10", protocol="corrected", measurements=()),
        judgement(
            claim="A20", figure=None, protocol=None, title=LONG, reason=LONG, sentence=LONG, command="true " + LONG
        ),
        judgement(claim="A21", figure="fig09", verdict=Verdict.UNKNOWN, reason="fig09 has not been built."),
        judgement(
            claim=HOSTILE,
            title=HOSTILE,
            sentence=HOSTILE,
            reason=HOSTILE,
            condition=HOSTILE,
            failure_means=HOSTILE,
            command=HOSTILE,
            measurements=(
                measurement(
                    what=HOSTILE, required=HOSTILE, unit=HOSTILE, sources=(HOSTILE, "javascript:alert(4)", "/etc/hosts")
                ),
                measurement(what=LONG, value=None, interval=None, margin=None, holds=None, comparable=False),
                measurement(
                    what="not a number", value=math.nan, interval=(-math.inf, math.inf), margin=math.nan, holds=False
                ),
                measurement(
                    what="reported only", soft=True, holds=False, sources=tuple(f"{RUN}/part{i}" for i in range(40))
                ),
            ),
        ),
        judgement(claim="A22", measurements=tuple(measurement(what=f"case {i}", holds=i % 3 > 0) for i in range(30))),
    ]
    findings = [
        Finding(state, f"{RUN}/{state}.parquet", "Its SHA-256 is 00, but its record says 11.", "snakemake -c2")
        for state in State
    ]
    findings.append(Finding(State.TAMPERED, HOSTILE, HOSTILE, LONG))
    replays = (
        Replay(f"{RESULTS}/figures/published/fig05", Result.EQUAL, "", 0.5),
        Replay(RUN, Result.DIFFERENT, "metrics.parquet: row 0, column 'accuracy' is 0.999, not 0.708.", 2.0),
        *(Replay(f"{RUN}{result}", result, LONG, 2.0) for result in Result),
        Replay(HOSTILE, Result.IMPOSSIBLE, HOSTILE, 0.0),
    )
    deviations = (
        Deviation("seeds", "Seeds were [0, 1, 2], and are [0]."),
        Deviation("code", HOSTILE),
        Deviation("code", LONG),
    )
    return audit(
        judgements=tuple(judgements), findings=tuple(findings), replays=replays, deviations=deviations, beacon=HOSTILE
    )


def lay_out(project: Path) -> None:
    """A figure and a run with records, in a project that holds nothing else."""
    (project / RUN).mkdir(parents=True)
    (project / RUN / "metrics.parquet").write_bytes(b"metrics")
    (project / RUN / "arrays.safetensors").write_bytes(b"arrays")
    record = {
        "job": "convrfm.replication.jobs.fits:fit_task",
        "settings": {"sigma": 1.0, "task": "bars"},
        "inputs": {"state/0": {"path": "data/mnist/state.json", "sha256": "a" * 64}},
        "outputs": {
            "metrics": {"path": f"{RUN}/metrics.parquet", "sha256": "b" * 64},
            "arrays": {"path": f"{RUN}/arrays.safetensors", "sha256": "c" * 64},
        },
        "code": {"closure": "d" * 64, "commit": "e" * 40, "dirty": False},
        "packages": {"convrfm": "0.1.0"},
        "machine": {"processor": "a processor", "gpu": None},
        "started": "2026-11-21T19:09:55Z",
        "wall_seconds": 7.9,
    }
    (project / RUN / "record.json").write_text(json.dumps(record))
    figures = project / RESULTS / "figures" / "published"
    figures.mkdir(parents=True)
    Image.new("RGB", (640, 360), (200, 30, 30)).save(figures / "fig05.png")
    (figures / "fig05.pdf").write_bytes(b"%PDF-")
    (figures / "fig05.csv").write_text("a,b\n1,2\n")
    (figures / "fig05.parquet").write_bytes(b"table")
    (figures / "fig05.md").write_text(
        "**Figure 5, local signal adaptivity** (protocol: published). Accuracy <script>alert(5)</script>\n\n"
        "| method | sigma = 1 |\n|---|---|\n| CNTK | 81.3 % |\n\n[link](javascript:alert(6)) ![picture](http://example.org/x.png)\n"
    )
    outputs = {
        name: {"path": f"{RESULTS}/figures/published/fig05.{name}", "sha256": "f" * 64} for name in ("png", "csv")
    }
    inputs = {"metrics/0": {"path": f"{RUN}/metrics.parquet", "sha256": "b" * 64}}
    drawn = {**record, "job": "convrfm.replication.figures.fig05:draw", "inputs": inputs, "outputs": outputs}
    (figures / "fig05.json").write_text(json.dumps(drawn))

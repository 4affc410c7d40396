"""What every figure writes: picture, tidy table, caption with verdicts, record; and what where its data are not there."""

from collections.abc import Callable, Mapping
from functools import partial, update_wrapper

import pandas as pd
from matplotlib.figure import Figure

from convrfm.replication.claims.evidence import Evidence, Judges
from convrfm.replication.claims.verdicts import quoted
from convrfm.replication.figures.skipped import draw_skipped
from convrfm.replication.record.data_states import read_state
from convrfm.replication.record.session import Job
from convrfm.system.storage import write_atomically, write_bytes, write_table

__all__ = ["Drawn", "figure_job", "skipped_parts", "with_verdicts", "write_figure", "write_skipped_figure"]

Drawn = tuple[pd.DataFrame, Figure, str]
"""The tidy table behind a figure, the figure, and its caption in Markdown."""

# Nothing that changes from call to call: equal tables give equal bytes.
METADATA = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None},
}


def write_figure(job: Job, table: pd.DataFrame, figure: Figure, caption: str) -> None:
    """Write the outputs `png`, `pdf`, `parquet`, `csv`, `md` and `record` of a figure's job.

    Raises:
        StorageError: see `convrfm.system.storage`.
    """
    write_table(job.outputs["parquet"], table)
    write_table(job.outputs["csv"], table)
    write_bytes(job.outputs["md"], caption.encode())
    for name, metadata in METADATA.items():
        save = partial(figure.savefig, format=name, metadata=metadata)
        write_atomically(job.outputs[name], save)
    job.write_record()


def with_verdicts(caption: str, table: pd.DataFrame, job: Job, judges: Judges | None) -> str:
    """The caption of a figure with the verdicts on its claims, by its table alone and by the conditions in its settings.

    Args:
        caption: in Markdown.
        table: behind the figure.
        job: of the figure; its setting `claims` has the rule of each claim.
        judges: of the figure; None where no claim reads its table.
    """
    if judges is None:
        return caption
    return caption + quoted(
        job.settings["claims"], judges, Evidence(table, skipped=job.recorder.notes.get("skipped", {}))
    )


def skipped_parts(job: Job) -> dict[str, str]:
    """The parts of a figure that cannot be drawn, with the reason and what to do about it.

    The job's input `states` has the state files of data that are not present, its setting `needs` the names of the data
    sets that each part needs. What is skipped is noted in the record.
    """
    states = [read_state(path) for path in job.inputs["states"]]
    gone = {state["dataset"]: f"{state['reason']} {state['remedy']}" for state in states if state["state"] != "present"}
    reasons = {part: [gone[name] for name in needs if name in gone] for part, needs in job.settings["needs"].items()}
    skipped = {part: " ".join(sentences) for part, sentences in reasons.items() if sentences}
    job.recorder.notes["skipped"] = skipped
    return skipped


def write_skipped_figure(job: Job, title: str, skipped: Mapping[str, str]) -> None:
    """Write all files of a figure of which no part can be drawn: each says SKIPPED and why.

    Args:
        job: of the figure.
        title: such as "Figure 5".
        skipped: from `skipped_parts`.
    """
    table = pd.DataFrame([{"part": part, "status": "SKIPPED", "reason": reason} for part, reason in skipped.items()])
    lines = [f"**{title}: SKIPPED**", *(f"\n{part}: SKIPPED ({reason})" for part, reason in skipped.items())]
    write_figure(job, table, draw_skipped(title, skipped), "\n".join(lines) + "\n")


def figure_job(
    title: str, judges: Judges | None = None
) -> Callable[[Callable[[Job, Mapping[str, str]], Drawn]], Callable[[Job], None]]:
    """Make a job of a function that draws a figure from its inputs.

    The function receives the job and what of it is skipped, from `skipped_parts`. It is not called where no part can be
    drawn: then all files say SKIPPED and why.

    Args:
        title: such as "Figure 5".
        judges: of the figure's table; its caption quotes their verdicts.
    """

    def decorate(draw: Callable[[Job, Mapping[str, str]], Drawn]) -> Callable[[Job], None]:
        def run(job: Job) -> None:
            skipped = skipped_parts(job)
            if len(skipped) == len(job.settings["needs"]):
                write_skipped_figure(job, title, skipped)
            else:
                table, figure, caption = draw(job, skipped)
                write_figure(job, table, figure, with_verdicts(caption, table, job, judges))

        # Its annotations stay its own: it takes less than the function, and gives nothing.
        update_wrapper(run, draw, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
        return run

    return decorate

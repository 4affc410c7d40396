"""The table of forgeries: what was done to results, and what found it."""

HEADER = """# Forgeries

<!-- Written by `make forgeries`; do not edit. -->

Each of these was done to the results of a tiny project, by a forger who is careful: every hash and every seal is made to fit, and
all that stands on the forged files is made anew from them by the project's own jobs. "Found" names what the audit says: a
*finding* on the files, a *replay* that came out otherwise, or a *deviation*, which is shown and leaves the results trusted.
Where the default does not look, the runs of which a number is computed again are drawn, and one forged run among m is found
with probability k / m by `--replay k`.

| forgery | by default | with `--replay all` |
|---|---|---|
"""


def table(rows: dict[str, tuple[str, str]]) -> str:
    """The page."""
    return HEADER + "".join(f"| {what} | {default} | {everything} |\n" for what, (default, everything) in rows.items())

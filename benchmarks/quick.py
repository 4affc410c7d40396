"""The numbers that README and docs quote from a finished build of the preset `quick`; writes benchmarks/quick.json.

make quick && python benchmarks/quick.py && make generated
"""

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd

OUTPUT = Path(__file__).with_name("quick.json")


def bars(results: Path) -> list[dict[str, Any]]:
    """Figure 5's estimates on noisy bars: accuracies and paired differences, as fractions."""
    table = pd.read_parquet(results / "figures/published/fig05.parquet")
    chosen = table[(table["task"] == "bars") & (table["quantity"] != "run")]
    columns = ["quantity", "method", "against", "sigma", "value", "low", "high", "over"]
    return json.loads(chosen[columns].to_json(orient="records"))


def figures(results: Path) -> dict[str, float]:
    """What the table of figures says that one should see."""
    tables = results / "figures/published"
    trained = pd.read_parquet(tables / "fig01.parquet").query("quantity == 'pearson'")["value"]
    first = pd.read_parquet(tables / "fig04.parquet").query("task == 'bars' and layer == 1")
    many = pd.read_parquet(tables / "fig06.parquet").query("task == 'bars' and against == 'CNTK'")
    simplenet = pd.read_parquet(tables / "fig08.parquet")
    means = simplenet[simplenet["quantity"] == "mean_pearson"].sort_values("epoch")["value"]
    theorem = pd.read_parquet(tables / "theorem1.parquet")
    largest = theorem[theorem["kind"] == "theorem"]["one_minus_rho"].max()
    smallest = theorem[theorem["kind"] == "control"]["one_minus_rho"].min()
    found = {
        "fig01_lowest": trained.min(),
        "fig01_highest": trained.max(),
        "fig04_first_layer": first["pearson"].mean(),
        "fig04_first_layer_random": first["control"].mean(),
        "fig06_gain": many[many["method"] == "ConvRFM"]["value"].item(),
        "fig08_trained": means.iloc[-1],
        "fig08_initial": means.iloc[0],
        "fig08_null": simplenet[simplenet["quantity"] == "mean_rotated_null"]["value"].item(),
        "theorem1_largest": largest,
        "theorem1_controls": smallest,
    }
    return {name: float(value) for name, value in found.items()}


def main() -> None:
    """Read the results and write the file."""
    parser = argparse.ArgumentParser(description="Collect the numbers that README and docs quote.")
    parser.add_argument("results", nargs="?", type=Path, default=OUTPUT.parents[1] / "results/quick")
    results = parser.parse_args().results
    record = json.loads((results / "figures/published/fig05.json").read_text())
    content = {"commit": record["code"]["commit"], "bars": bars(results), "figures": figures(results)}
    OUTPUT.write_text(json.dumps(content, indent=1) + "\n")
    print(f"written: {OUTPUT}")


if __name__ == "__main__":
    main()

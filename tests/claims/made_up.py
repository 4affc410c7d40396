"""Made-up tables of figures, as their plot modules write them, in which claims hold, fail, or are not decided."""

import json
from itertools import pairwise
from pathlib import Path

import pandas as pd

from convrfm.replication.claims.claims import load_claims
from convrfm.replication.figures.accuracies import layer_name, with_estimates
from convrfm.replication.figures.printed import PRINTED
from convrfm.replication.record.received import COST_TABLE, cost_recorder, write_cost_record
from convrfm.system.storage import write_table

NAN = float("nan")

PROTOCOL = "published"

SIZES = {"n_train": 500, "n_test": 400}

GAIN, HALF = 0.12, 0.02
"""By how much correlations that hold exceed what they are compared with, and half the width of an interval."""


def put(results: Path, figure: str, table: pd.DataFrame, *, protocol=PROTOCOL, skipped=None, inputs=()) -> None:
    """Write a figure's table and record."""
    folder = results / "figures" / protocol
    folder.mkdir(parents=True, exist_ok=True)
    if "protocol" in table:
        table = table.assign(protocol=protocol)
    if figure in ("fig05", "fig06") and "accuracy" in table:
        table = estimated(table)
    write_table(folder / f"{figure}.parquet", table)
    record = {"inputs": {str(i): {"path": path, "sha256": ""} for i, path in enumerate(inputs)}}
    (folder / f"{figure}.json").write_text(json.dumps(record | {"skipped": skipped or {}}))


def estimated(runs: pd.DataFrame) -> pd.DataFrame:
    """The table of Figure 5 or 6 of made-up accuracies: each seed is a draw of its own, unless they say otherwise."""
    added = {"draw": runs["seed"].map(str), "n_test": SIZES["n_test"], "chosen": 1, "unseen_classes": 0.0}
    names = [layer_name(number) for number in range(3)]
    pairs = (
        [(DEEP, "ConvRFM")]
        + [(b, a) for a, b in pairwise(names)]
        + [(m, "CNTK") for m in set(runs["method"]) - {"CNTK", "ConvRFM"}]
    )
    there = [pair for pair in pairs if set(pair) <= set(runs["method"])]
    of = [name for name in ("task", "sigma") if name in runs and runs[name].notna().all()]
    table = with_estimates(runs.assign(**{k: v for k, v in added.items() if k not in runs}), of, lambda methods: there)
    return table.assign(layers=table["method"].map({name: float(number) for number, name in enumerate(names)}))


def put_skipped(results: Path, figure: str, reasons: dict[str, str], protocol=PROTOCOL) -> None:
    """Write what a figure leaves of which no part can be drawn."""
    rows = [{"part": part, "status": "SKIPPED", "reason": reason} for part, reason in reasons.items()]
    put(results, figure, pd.DataFrame(rows), protocol=protocol, skipped=reasons)


def fig01(signs, *, stand_in=False, single=False, value=1.0, names=("vgg11", "resnet18", "vgg16"), source="v1"):
    rows = []
    for name, sign in zip(names, signs, strict=False):
        gain = value * sign * GAIN
        half = NAN if single else HALF
        numbers = dict.fromkeys(("gain_over_initial", "gain_over_null", "gain_over_control"), gain) | {"pearson": 0.8}
        network = f"{name}-{'standin' if stand_in else source}"
        rows += [
            {"network": network, "stand_in": stand_in, "protocol": PROTOCOL, "layers": 8, "quantity": quantity,
             "value": number, "low": number - half, "high": number + half}
            for quantity, number in numbers.items()
        ]  # fmt: skip
    return pd.DataFrame(rows)


def fig07(signs, *, stand_in=False, single=False, value=1.0, course=True):
    rows = []
    half = NAN if single else HALF
    for name, sign in zip(["vgg11", "resnet18", "vgg16"], signs, strict=False):
        shared = {
            "network": f"{name}-{'standin' if stand_in else 'v1'}",
            "stand_in": stand_in,
            "protocol": PROTOCOL,
            "power": 1.0,
        }
        gain = value * sign * GAIN
        rows.append({**shared, "panel": "A", "layer": "mean", "when": "trained", "epoch": 5.0, "quantity": "gain",
                     "value": gain, "low": gain - half, "high": gain + half})  # fmt: skip
        for epoch in (0.0, 1.0, 5.0) if course else ():
            level = 0.7 + (epoch > 0) * gain
            rows.append({**shared, "panel": "B", "layer": "mean", "when": "epoch", "epoch": epoch, "quantity": "pearson",
                         "value": level, "low": level - half, "high": level + half})  # fmt: skip
    return pd.DataFrame(rows)


IMAGES = {"svhn": 73257, "cifar10": 50000, "digits": 1000}
"""Of whole training splits."""


def fig08(signs, *, stand_in=False, single=False, value=1.0, epochs=540, divisor=1):
    rows = []
    for dataset, sign in zip(["svhn", "cifar10"], signs, strict=False):
        dataset = "digits" if stand_in else dataset
        for seed in range(1 if single else 3):
            shared = {
                "dataset": dataset, "width_divisor": 1, "stand_in": stand_in, "protocol": PROTOCOL, "seed": seed,
                "n_train": -(-IMAGES[dataset] // divisor),
            }  # fmt: skip
            late = 0.6 + value * sign * GAIN + 0.001 * seed
            numbers = [
                ("mean_pearson", 0, 0.6),
                ("mean_pearson", 1, late),
                ("mean_pearson", epochs, late),
                ("mean_rotated_null", epochs, 0.6),
            ]
            accuracy = {"svhn": 0.982, "cifar10": 0.953, "digits": 0.9}[dataset] - 0.01 - 0.02 * (sign < 0)
            numbers.append(("test_accuracy", epochs, value * accuracy))
            rows += [{**shared, "quantity": q, "epoch": epoch, "value": number} for q, epoch, number in numbers]
    return pd.DataFrame(rows)


def fig09(signs, *, stand_in=False, single=False, value=1.0):
    """The first sign is for patch sizes, the second for pooling."""
    patch, pool = signs
    rows = []
    for d in range(2 if single else 4):
        for number, architecture in enumerate(("vanilla", "Myrtle5", "MyrtleMax")):
            for size in (3, 5, 7):
                cosine = 0.8 - 0.01 * patch * (size - 3) + 0.05 * pool * (number == 2) + 0.001 * d * (number + size)
                rows.append({"dataset": f"set{d}", "stand_in": stand_in, "protocol": PROTOCOL, "architecture": architecture,
                             "patch_size": size, "seed": 0, "when": "trained", "quantity": "cosine", "value": value * cosine})  # fmt: skip
    return pd.DataFrame(rows)


def theorem1(signs, *, stand_in=False, single=False, value=1.0, control=0.1):
    rows = []
    for name, sign in zip(("first", "second"), signs, strict=True):
        rows += [{"case": name, "title": name, "kind": "theorem", "one_minus_rho": value * (1e-15 if sign > 0 else 1e-8),
                  "protocol": PROTOCOL, "stand_in": False} for _ in range(3)]  # fmt: skip
    rows.append({**rows[0], "case": "start", "title": "start", "kind": "control", "one_minus_rho": control})
    return pd.DataFrame(rows)


def fig02(signs, *, stand_in=False, single=False, value=1.0):
    rows = []
    for index, sign in enumerate(signs):
        for image in range(1 if single else 6):
            excess = value * (0.15 * sign + 0.01 * image)
            rows.append({"network": f"vgg11-{'standin' if stand_in else 'v1'}", "stand_in": stand_in, "protocol": PROTOCOL,
                         "layer": f"features.{index}", "index": index, "source": image, "image": image,
                         "pearson": 0.5 + excess, "control": 0.5, "excess": excess})  # fmt: skip
    return pd.DataFrame(rows)


def sheet(sign, *, panel="A", kernel="cntk", dataset="svhn", source="svhn", quantity="sobel", stand_in=False, single=False,
          value=1.0, angle=5.0):  # fmt: skip
    """Rows of Figures 3, 10, 11 and 12: eigenvector 1 is constant, the others are oriented edges."""
    if stand_in:
        dataset = source = "street-digits"
    shared = {"panel": panel, "dataset": dataset, "source": source, "stand_in": stand_in, "protocol": PROTOCOL, "seed": 0,
              "draw": "0", "kernel": kernel, "patch_size": 3}  # fmt: skip
    rows = []
    images = range(1 if single else 5)
    if quantity != "sobel":
        rows += [{**shared, "eigenvector": 0, "image": i, "quantity": quantity, "value": value * (0.5 + 0.2 * sign + 0.01 * i),
                  "control": 0.5} for i in images]  # fmt: skip
        return pd.DataFrame(rows)
    for vector in (1, 2, 3, 4):
        rows += [{**shared, "eigenvector": vector, "image": i, "quantity": "sobel", "control": 0.2,
                  "value": value * ((0.2 + 0.25 * sign if vector > 1 else 0.9) + 0.01 * i)} for i in images]  # fmt: skip
        whole = {"share": 0.2, "constant_share": 0.9 if vector == 1 else 0.1, "coherence": 0.8,
                 "gap": value * (angle if sign > 0 else 40.0 + vector)}  # fmt: skip
        rows += [{**shared, "eigenvector": vector, "image": -1, "quantity": name, "value": number,
                  "control": 45.0 if name == "gap" else NAN} for name, number in whole.items()]  # fmt: skip
    return pd.DataFrame(rows)


def fig04(signs, *, stand_in=False, single=False, value=1.0):
    rows = []
    for layer, sign in enumerate(signs, start=1):
        for image in range(1 if single else 5):
            excess = value * (0.15 * sign + 0.01 * image)
            rows.append({"task": "noisy-digits" if stand_in else "bars", "stand_in": stand_in, "protocol": PROTOCOL, "seed": 0,
                         "draw": "0", "layer": layer, "image": image, "pearson": 0.3 + excess, "control": 0.3, "excess": excess})  # fmt: skip
    return pd.DataFrame(rows)


def methods(gains, *, seeds=3, spread=0.002, base=0.6):
    """Rows of one task and level: the accuracy of each method over that of the CNTK."""
    return [
        {"method": method, "seed": seed, "accuracy": base + gain + spread * (seed - 1) * (method != "CNTK")}
        for method, gain in {"CNTK": 0.0, **gains}.items()
        for seed in range(seeds)
    ]


DEEP, TWO = "Deep ConvRFM, stage 1", layer_name(2)


def fig05(signs, *, stand_in=False, single=False, value=1.0, tasks=("bars", "noisy-mnist"), step=0.03):
    rows = []
    names = ("noisy-digits",) if stand_in else tasks
    for task, sign in zip(names, signs, strict=False):
        for sigma in (1.0, 2.0):
            # What is gained at the lower level must not count.
            gain = 0.08 * (sign if sigma == 2.0 else -sign)
            gains = {"ConvRFM": gain, DEEP: gain + sign * step, "CNN (Adam)": gain}
            rows += [{"panel": "A", "task": task, "stand_in": stand_in, "protocol": PROTOCOL, "sigma": sigma, **SIZES, **row}
                     for row in methods(gains, seeds=1 if single else 3)]  # fmt: skip
    return pd.DataFrame(rows).assign(accuracy=lambda table: value * table["accuracy"])


def fig06(signs, *, stand_in=False, single=False, value=1.0, sigma=NAN, tasks=("svhn", "cifar10", "gtsrb", "stl10", "dtd"),
          step=0.02):  # fmt: skip
    rows = []
    for task, sign in zip(["digits"] * stand_in or tasks, signs, strict=False):
        gains = {"ConvRFM": 0.05 * sign, TWO: (0.05 + step) * sign, "Deep ConvRFM": (0.05 + step) * sign, "CNN": 0.1}
        layers = {"CNTK": 0.0, "ConvRFM": 1.0, TWO: 2.0}
        rows += [{"task": task, "stand_in": stand_in, "protocol": PROTOCOL, "sigma": sigma, "layers": layers.get(row["method"], NAN), **row}
                 for row in methods(gains, seeds=1 if single else 3)]  # fmt: skip
    return pd.DataFrame(rows).assign(accuracy=lambda table: value * table["accuracy"])


def printed(sign, name, *, seeds=3, value=1.0):
    run = PRINTED[name]
    rows = []
    for quantity, numbers in (("accuracy", run.accuracy), ("squared error", run.squared_error)):
        for number, expected in enumerate(numbers):
            # Just within the tolerance, or outside it.
            away = run.tolerance[number] * (0.9 if sign > 0 else 1.1)
            rows += [{"run": name, "task": run.task, "round": number, "quantity": quantity, "seed": seed,
                      "draw": str(seed), "ours": value * (expected + away)} for seed in range(seeds)]  # fmt: skip
    return pd.DataFrame(rows)


def cost(signs, value=1.0):
    names = ("memory", "time", "classes")
    rows = [{"quantity": name, "what": f"ratio of {name}", "ours": 1.0, "theirs": 20.0, "ratio": value * (20.0 if sign > 0 else 1.0),
             "low": 1.0, "high": 30.0, "machine": "a machine"} for name, sign in zip(names, signs, strict=True)]  # fmt: skip
    return pd.DataFrame(rows)


def put_cost(project: Path, table: pd.DataFrame) -> Path:
    """Write the table of the benchmark and its record; gives the table's path."""
    path = project / COST_TABLE
    write_table(path, table)
    write_cost_record(cost_recorder(project, {}), project)
    return path


def both(first, second):
    """Two tables below each other."""
    return pd.concat([first, second], ignore_index=True)


def features(signs, **options):
    """What A8 reads, one sign for each of its three figures."""
    a, b, c = signs
    of_3 = both(sheet(a, **options), sheet(a, panel="C", source="imagenet", quantity="sobel_cntk", **options))
    return {
        "fig03": of_3,
        "fig11": sheet(b, kernel="laplace", **options),
        "fig12": sheet(c, dataset="gtsrb", source="gtsrb", **options),
    }


def alike(signs, **options):
    """What A9 reads, one sign for each of its three figures."""
    a, b, c = signs
    pairs = {name: both(sheet(sign, panel=panel, quantity="alike", dataset=dataset, source=dataset, **options),
                        sheet(sign, panel=panel, quantity="alike_without_means", dataset=dataset, source=dataset, **options))
             for name, sign, panel, dataset in (("fig10", a, "A", "svhn"), ("fig03", b, "B", "cifar10"))}  # fmt: skip
    return {**pairs, "fig04": fig04([c], **options)}


def tables_of(claim: str, signs, **options) -> dict[str, pd.DataFrame]:
    """The tables that a claim rests on; two signs, one for each half of its measurements."""
    first, second = signs
    if claim.startswith("P-"):
        name = claim.removeprefix("P-")
        table = printed(first, name, value=options.get("value", 1.0))
        later = printed(second, name, value=options.get("value", 1.0))
        return {"printed": both(table[table["round"] == 0], later[later["round"] > 0])}
    return {
        "A1": lambda: {"fig01": fig01(signs, **options)},
        "A2": lambda: {"fig01": fig01(signs, **options)},
        "A3": lambda: {"fig07": fig07(signs, **options)},
        "A4": lambda: {"fig08": fig08(signs, **options)},
        "A5": lambda: {"fig09": fig09(signs, **options)},
        "A6": lambda: {"theorem1": theorem1(signs, **options)},
        "A7": lambda: {"fig02": fig02(signs, **options)},
        "A8": lambda: features((first, first, second), **options),
        "A9": lambda: alike((first, first, second), **options),
        "A10": lambda: {"fig05": fig05(signs, **options)},
        "A11": lambda: {"fig05": fig05([first], tasks=("noisy-mnist",), **options)},
        "A12": lambda: {"fig06": fig06([first] * 3 + [second] * 2, **options)},
        "A13": lambda: {"fig06": fig06(signs, tasks=("svhn", "emnist-letters"), **options)},
        "A16": lambda: {"fig01": fig01(signs, names=("resnet20", "resnet56"), source="cifar10", **options)},
        "A14": lambda: {"fig08": fig08(signs, **options), "fig07": fig07(signs, **options)},
    }[claim]()


CLAIMS = [claim.id for claim in load_claims() if claim.figure is not None]
"""Claims that read tables of figures."""

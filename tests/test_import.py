"""`import convrfm` stays light, and a kernel needs neither torch nor jax."""

import subprocess
import sys


def imported_by(code: str) -> set[str]:
    probe = f"import sys; {code}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_package_imports_nothing_heavy():
    assert not imported_by("import convrfm") & {"numpy", "torch", "jax", "pydantic", "snakemake", "numba"}


def test_estimators_need_no_workflow():
    heavy = {"jax", "pydantic", "snakemake", "seaborn", "matplotlib", "torchvision"}
    assert not imported_by("from convrfm import DeepConvRFMClassifier, CNTK") & heavy


def test_the_library_declares_what_it_imports():
    """Blocks everything beyond the declared dependencies of the library."""
    import tomllib
    from pathlib import Path

    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    extra = {entry.split("[")[0].split(">")[0].split("=")[0] for entry in project["optional-dependencies"]["workflow"]}
    assert "tqdm" not in extra
    blocked = ", ".join(f"{name!r}: None" for name in sorted({"yaml" if n == "pyyaml" else n for n in extra}))
    code = (
        f"sys.modules.update({{{blocked}}}); import convrfm.rfm.estimators, convrfm.training, convrfm.networks, convrfm.ansatz"
    )
    assert imported_by(code)


def test_planning_the_workflow_loads_no_torch_and_compiles_nothing():
    """Every Snakemake process plans, on a cluster each job's too; NumPy and pandas are imported by Snakemake itself."""
    heavy = {"torch", "torchvision", "numba", "jax", "sklearn", "seaborn"}
    code = "import convrfm.replication.plan.plan, convrfm.replication.plan.fits, convrfm.replication.cluster.site"
    parts = "assert 'scipy.stats' not in sys.modules"
    assert not imported_by(f"{code}; {parts}") & heavy

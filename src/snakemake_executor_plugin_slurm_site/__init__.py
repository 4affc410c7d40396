"""Snakemake's executor `slurm-site`: its plugin for SLURM, adapted to sites with accounting, limits and outages.

Snakemake finds executors by the names of such packages. The wheel leaves this one out, since the workflow alone needs it.
"""

from snakemake_executor_plugin_slurm import common_settings

from snakemake_executor_plugin_slurm_site.executor import Executor, ExecutorSettings

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

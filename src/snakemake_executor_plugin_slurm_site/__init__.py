"""Snakemake's executor `slurm-site`: its plugin for SLURM, made fit for sites with accounting, limits and outages.

Snakemake finds executors by the names of such packages. This one is of the workflow and not of the library: a wheel leaves it
out.
"""

from snakemake_executor_plugin_slurm import common_settings

from snakemake_executor_plugin_slurm_site.executor import Executor, ExecutorSettings

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

"""The configuration: config.yaml, and what the command line changes of it."""

from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import update_config

from convrfm.errors import ConvRFMError
from convrfm.replication.config.validation import as_in_yaml, check_files

try:
    check_files(map(Path, ("config.yaml", *workflow.overwrite_configfiles)))
except ConvRFMError as error:
    raise WorkflowError(str(error)) from None


configfile: "config.yaml"


update_config(config, as_in_yaml(workflow.config_settings.config))

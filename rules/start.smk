"""What must hold before config.yaml is read: a platform that engram runs on, and a file that is YAML."""

import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

WORKFLOW = Path(workflow.basedir) / "workflow"

sys.path.insert(0, str(WORKFLOW))

from engram import config_file
from engram.errors import UserError
from engram.runtime.machine import require_supported

try:
    require_supported()
    config_file.require_readable("config.yaml")
except UserError as error:
    raise WorkflowError(str(error)) from None

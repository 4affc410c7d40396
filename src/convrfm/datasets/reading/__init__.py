"""Reading of every data set from its official format on disk."""

from convrfm.system.machine import require

require("workflow", "PIL", what="Reading images")

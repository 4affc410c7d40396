"""`python -m convrfm`: the same as `convrfm`."""

import sys

from convrfm.replication.audit.cli import main

sys.exit(main())

"""`python -m convrfm`: the same as `convrfm`."""

import sys

from convrfm.audit.cli import main

sys.exit(main())

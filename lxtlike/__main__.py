"""``python -m lxtlike`` is the command ``lxtlike``."""

import sys

from lxtlike.cli import main

sys.exit(main())

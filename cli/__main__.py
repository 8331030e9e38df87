"""``python -m dnar2mae.cli``, as torchrun starts it."""

import sys

from dnar2mae.cli import main

sys.exit(main())

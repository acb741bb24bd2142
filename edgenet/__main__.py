"""`python -m edgenet` is the `edgenet` command."""

import sys

from edgenet.cli import main

sys.exit(main())

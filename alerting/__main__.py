"""`python -m alerting`."""

from __future__ import annotations

import sys

from alerting.cli.main import main

sys.exit(main())

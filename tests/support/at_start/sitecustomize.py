"""Python imports this module when it starts: it fakes the clock of processes that follow a `ClockFile`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from faked_time import follow_environment

follow_environment()

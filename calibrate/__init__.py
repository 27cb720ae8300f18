"""How trace is calibrated: models trained apart and from each other, and what is measured on them.

No part of the product. `make calibrate` runs `python -m calibrate`. May import headwater and the makers of tests/trace;
only tests import it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Small products on a shared machine wait for a second thread longer than they take.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

ROOT = Path(__file__).parents[1]
FOLDER = Path(sys.prefix) / "calibration"
"""What was trained is kept here: in the environment, out of the repo."""

for _tests in (ROOT / "tests", ROOT / "tests" / "trace"):
    if str(_tests) not in sys.path:
        sys.path.append(str(_tests))

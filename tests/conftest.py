"""One thread a test process, so that results do not depend on the machine and two processes fit two cores."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded
os.environ.setdefault("MPLBACKEND", "Agg")

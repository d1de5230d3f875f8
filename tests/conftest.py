"""One thread per test process: results do not depend on the machine, and two processes fit two cores."""

import os
import signal
import sys

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded
os.environ.setdefault("MPLBACKEND", "Agg")

# Two test processes and the many programs that they start would each compile every source anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A shell starts what runs in its background with SIGINT ignored, and its children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

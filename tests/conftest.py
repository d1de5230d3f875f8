"""One thread a test process, so that results do not depend on the machine and two processes fit two cores."""

import os
import signal

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded
os.environ.setdefault("MPLBACKEND", "Agg")

# A shell starts what runs in its background with SIGINT ignored, and its children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

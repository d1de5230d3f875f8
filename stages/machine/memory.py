"""Settings of the memory allocator: each training step frees and takes the same large blocks."""

import ctypes
import os
import sys

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Let the process keep freed memory for its next allocation. Call it before torch is loaded.

    glibc takes every block above 32 MiB from the kernel and returns it when it is freed. The gradients of
    AlexNet's fc6 and fc7 and the activations of a batch are such blocks: half a gigabyte per step comes back
    as some 100,000 zeroed pages, which took half of the step at 64 px on a virtual machine. Huge pages make
    the rest cheaper. Results do not change. Nothing is done for other C libraries.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # read by torch at its first allocation
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl has none
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, -1)  # never

"""Relay as an installed package: where its code is, and a Python that finds it.

Relay's rooms (`analysis`, `stages`, ...) have names that other projects use too. So a wheel holds them in
a folder of this package. They are importable after `import relay_transfer`, and in what `relay` starts.
"""

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent

# Where train.py, conf/ and the rooms are: in a wheel below this package, in a checkout beside it.
HOME = _HERE / "app" if (_HERE / "app").is_dir() else _HERE.parent

if str(HOME) not in sys.path:
    sys.path.insert(0, str(HOME))

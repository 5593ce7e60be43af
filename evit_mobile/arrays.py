"""What the code calls its arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Of any element type and shape.
Array = NDArray[Any]
#: Pictures, boxes and whatever else is always computed in single precision.
Float32Array = NDArray[np.float32]

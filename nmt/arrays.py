"""Names for the types of numpy arrays."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]
IntArray = NDArray[np.integer[Any]]  # integers of any width

"""Files in the IDX format of the MNIST family, gzip-compressed.

They hold two zero bytes, the type (8 = unsigned byte), the number of axes, the length of each axis as a big-endian
integer of four bytes, then the values. Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib

import numpy as np
from numpy.typing import NDArray

from hwcost.errors import InvalidValueError
from hwcost.files import unusable

__all__ = ["read_idx"]

MOST_BYTES = 2**30
"""The most values of a file."""


def read_idx(path: str | os.PathLike[str], axes: int) -> NDArray[np.uint8]:
    """The values of a gzip-compressed IDX file of unsigned bytes.

    Args:
        path: of the file.
        axes: their number: 3 for images (count, height, width), 1 for labels.

    Raises:
        InvalidValueError: a file that is missing, damaged, too large, or of another kind.
    """

    def refused(reason: str) -> InvalidValueError:
        return unusable("data file", path, "read", OSError(None, reason))

    if os.path.exists(path) and not os.path.isfile(path):
        raise refused("it is not a regular file")
    try:
        with gzip.open(path) as file:
            header = file.read(4 + 4 * axes)
            if len(header) < 4 + 4 * axes or header[:4] != bytes((0, 0, 8, axes)):
                raise refused(f"it is not an IDX file of unsigned bytes with {axes} axes; fetch it again")
            shape = np.frombuffer(header[4:], ">u4").tolist()
            if (announced := math.prod(shape)) > MOST_BYTES:
                raise refused(f"it announces {announced} bytes; at most {MOST_BYTES} are read")
            values = file.read(announced + 1)  # and no more, however much the file unpacks to
    except FileNotFoundError:
        raise refused("it is missing") from None
    except (OSError, EOFError, zlib.error) as error:
        raise refused(f"it is no gzip file ({error}); fetch it again") from None
    if len(values) != announced:
        held = len(values) if len(values) < announced else "more"
        raise refused(f"it announces {announced} bytes and holds {held}; fetch it again")
    return np.frombuffer(values, np.uint8).reshape(shape)

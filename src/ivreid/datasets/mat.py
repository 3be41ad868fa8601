"""MATLAB files, read as the untrusted input they are."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivreid.errors import DataError
from ivreid.io import MAX_FILE_BYTES

MAX_MAT_BYTES = 16 * MAX_FILE_BYTES
"""Features of a large test set are bigger than any image."""


def read_mat(path: Path | str, variable: str) -> NDArray[Any]:
    """One variable of a MATLAB file (version 7 or older).

    Raises:
        DataError: Missing, damaged or foreign file, version 7.3, or a file without that variable.
    """
    from scipy.io import loadmat, whosmat

    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_MAT_BYTES:
            raise DataError(f"{path}: {size:,} bytes is more than this reader takes ({MAX_MAT_BYTES:,})")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = loadmat(path, variable_names=[variable], appendmat=False).get(variable)
            names = [] if value is not None else [name for name, *_ in whosmat(path, appendmat=False)]
    except DataError:
        raise
    except NotImplementedError as error:
        raise DataError(f"{path} is a MATLAB 7.3 file; save it with save(..., '-v7') instead") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # scipy raises many kinds on hostile bytes
        raise DataError(f"{path} is not a readable MATLAB file ({type(error).__name__}: {error})") from error
    if not isinstance(value, np.ndarray):
        raise DataError(f"{path} has no variable `{variable}`; it has {', '.join(names) or 'none'}")
    return value


def read_cells(path: Path | str, variable: str) -> list[NDArray[Any]]:
    """The cells of a MATLAB cell vector.

    Raises:
        DataError: As `read_mat`; or the variable is not a cell vector of arrays.
    """
    cells = read_mat(path, variable)
    if cells.dtype != object or cells.size != max(cells.shape, default=0):
        raise DataError(
            f"{path}: `{variable}` must be a cell vector, it is {cells.dtype} of shape {cells.shape}"
        )
    values = list(cells.ravel())
    if not all(isinstance(cell, np.ndarray) for cell in values):
        raise DataError(f"{path}: `{variable}` must hold arrays in every cell")
    return values

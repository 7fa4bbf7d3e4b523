"""Types shared by every level: arrays whose shape is part of the annotation.

``Float[Tensor, "batch latent"]`` reads as the shape does in the mathematics. The annotations
come from jaxtyping where it is installed (the test extra); elsewhere they are the plain array
type, so that the package does not depend on it to run.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeAlias

PathLike: TypeAlias = str | os.PathLike[str]

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

    Array: TypeAlias = np.ndarray[Any, Any]
else:
    try:
        from jaxtyping import Bool, Float, Int
    except ImportError:

        class _Plain:
            """``Float[Tensor, "batch"]`` without jaxtyping is ``Tensor``."""

            def __class_getitem__(cls, item):
                return item[0] if isinstance(item, tuple) else item

        Bool = Float = Int = _Plain


def __getattr__(name: str) -> Any:
    """Load numpy or torch only when a type of theirs is asked for."""
    if name == "Array":
        from numpy import ndarray

        return ndarray
    if name == "Tensor":
        from torch import Tensor

        return Tensor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["Array", "Bool", "Float", "Int", "PathLike", "Tensor"]

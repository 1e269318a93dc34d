"""Token ids as callers give them: lists, arrays, tensors, iterators; and the refusal of anything else."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tinybpe.arguments import is_iterable, wrong_type

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ids = Iterable[int] | NDArray[np.integer[Any]]
else:
    # What `help` shows. An array is an iterable of ints too, but NumPy is not imported for a type's sake.
    Ids = Iterable[int]


def listed_ids(ids: Ids, argument: str = "ids") -> "list[int] | NDArray[np.integer[Any]]":
    """Return ids as the extension takes them: a list, or an array of a token file's type.

    The extension looks at each id of a list.

    Raises:
        TypeError: It is no iterable of integers, as far as that is known without looking at each.
    """
    if isinstance(ids, list):
        return ids
    array: Any = ids
    dtype = getattr(array, "dtype", None)
    if isinstance(ids, str | bytes | bytearray) or not is_iterable(ids) or getattr(array, "ndim", 1) == 0:
        is_one = not isinstance(ids, str | bytes | bytearray) and hasattr(ids, "__index__")
        example = f"[{ids}]" if is_one else "those that `encode` returns"
        raise wrong_type(argument, ids, f"a list of ids or an array, such as {example}")
    if getattr(dtype, "kind", "i") not in "iu":
        raise TypeError(f"{argument} is an array of {dtype}; give an array of integers")
    if getattr(array, "ndim", 1) != 1:
        shape = tuple(array.shape)
        raise TypeError(
            f"{argument} is an array of shape {shape}; give one dimension (decode_batch takes several lists)"
        )
    if hasattr(array, "__array_interface__") and str(dtype) in ("uint16", "uint32"):
        return array  # type: ignore[no-any-return]
    # Other arrays and tensors have `tolist`; the iterators of tensors give tensors, not numbers.
    return array.tolist() if hasattr(array, "tolist") else list(ids)

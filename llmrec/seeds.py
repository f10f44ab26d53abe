"""Random streams by name. A seed is SHA-256 of (seed, axis, step): no stream depends on how often another was used."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def axis_seed(seed: int, axis: str, step: int = 0) -> int:
    """A 63-bit seed for one axis ('initialisation', 'order', 'dropout', 'negatives', 'sampling', ...) at one step."""
    digest = hashlib.sha256(f"{seed}/{axis}/{step}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def axis_rng(seed: int, axis: str, step: int = 0) -> np.random.Generator:
    """An independent NumPy generator for one axis at one step."""
    import numpy as np  # here, because the command line reads records without it

    return np.random.default_rng(axis_seed(seed, axis, step))


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, no NaN. Equal values have equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def content_hash(value: Any) -> str:
    """First 16 hex digits of the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


def hash64(seed: int, *columns: npt.ArrayLike) -> npt.NDArray[np.uint64]:
    """A seeded 64-bit hash of every row of some integer columns (broadcast together), by splitmix64's finaliser.

    A row's hash depends on the seed and on that row alone, never on its place or on how many rows are hashed at once.
    """
    import numpy as np

    state = np.uint64(seed % 2**64)
    with np.errstate(over="ignore"):
        for column in columns:
            state = _mix(state + np.asarray(column).astype(np.int64).astype(np.uint64))
    return np.asarray(state, np.uint64)


def _mix(x: Any) -> Any:
    import numpy as np

    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))

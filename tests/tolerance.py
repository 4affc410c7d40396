"""The one table of tolerances, and the one comparison."""

import numpy as np

# Largest error allowed, as a fraction of the largest entry of the expected array. Float64 results are compared with
# other float64 results; near r = 1 arccos costs the square root of the precision in any implementation.
TOLERANCE = {
    ("gram", "float64"): 2e-8,
    ("gram", "float32"): 1e-5,
    ("near", "float64"): 1e-10,
    ("near", "float32"): 3e-6,
    ("near half", "float64"): 1e-9,
    ("agop", "float64"): 5e-8,
    ("agop", "float32"): 1e-4,
    ("exact", "float64"): 1e-10,
    ("smooth", "float64"): 1e-9,
    ("smooth", "float32"): 2e-5,
    ("ansatz", "float64"): 1e-10,
    ("ansatz", "float32"): 1e-5,
}


def assert_close(actual: np.ndarray, expected: np.ndarray, kind: str, dtype: str = "float64") -> None:
    """Compare with the tolerance of a kind of number; a failure names the worst entry."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, f"shapes {actual.shape} and {expected.shape}"
    scale = np.abs(expected).max()
    error = np.abs(actual - expected) / scale
    worst = np.unravel_index(np.argmax(np.nan_to_num(error, nan=np.inf)), error.shape)
    tolerance = TOLERANCE[kind, dtype]
    assert error[worst] <= tolerance, (
        f"{kind} ({dtype}): entry {tuple(map(int, worst))} is {actual[worst]:.9g}, expected {expected[worst]:.9g}; "
        f"error {error[worst]:.3g} of the largest entry, {error[worst] / tolerance:.3g} times the tolerance"
    )

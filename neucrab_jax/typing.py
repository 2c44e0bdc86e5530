# SPDX-License-Identifier: Apache-2.0
"""Types that signatures share.

An array is JAX's, a traced one too, or NumPy's. A signature names its axes by
the letters of the module's docstring, as in `Float[Array, 'N D']`; they are
checked while the tests run.
"""

from typing import TYPE_CHECKING, Any

import jax
import jaxtyping
import ml_collections
import numpy as np

Array = jax.Array | np.ndarray

# One random key, typed or raw; and S of them.
Key = jaxtyping.PRNGKeyArray
Keys = jaxtyping.Key[jax.Array, 'S'] | jaxtyping.UInt32[jax.Array, 'S 2']

if TYPE_CHECKING:
  # By its own types each of its fields may be anything, None included.
  Config = Any
else:
  Config = ml_collections.ConfigDict

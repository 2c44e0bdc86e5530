# SPDX-License-Identifier: Apache-2.0
"""What counts as an array: JAX's, a traced one too, and NumPy's.

A signature names its axes by the letters of the module's docstring, as in
`Float[Array, 'N D']`; they are checked while the tests run.
"""

import jax
import jaxtyping
import numpy as np

Array = jax.Array | np.ndarray

# One random key, typed or raw; and S of them.
Key = jaxtyping.PRNGKeyArray
Keys = jaxtyping.Key[jax.Array, 'S'] | jaxtyping.UInt32[jax.Array, 'S 2']

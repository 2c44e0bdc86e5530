# SPDX-License-Identifier: Apache-2.0
"""The `Environment` record: what a result depends on beside its inputs."""

import jax
import msgspec

from neucrab_jax import version


class Environment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
  """What computed a result.

  Attributes:
    neucrab_jax: version of this package.
    jax: its version.
    backend: such as 'cpu' or 'gpu'.
    devices: of all processes.
    processes: that worked together.
    seed: of whatever is random.
  """

  neucrab_jax: str
  jax: str
  backend: str
  devices: int
  processes: int
  seed: int


def current(*, seed: int) -> Environment:
  """The environment of this process.

  Args:
    seed: of whatever is random in the result.
  """
  return Environment(
    neucrab_jax=version.__version__,
    jax=jax.__version__,
    backend=jax.default_backend(),
    devices=jax.device_count(),
    processes=jax.process_count(),
    seed=seed,
  )

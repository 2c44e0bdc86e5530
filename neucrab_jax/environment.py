# SPDX-License-Identifier: Apache-2.0
"""What made a result, for its record: environment, network, its source."""

import dataclasses

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


@dataclasses.dataclass(frozen=True)
class Source:
  """What was downloaded, so that the same can be had again.

  Attributes:
    repository: of the Hugging Face hub, 'OWNER/NAME'.
    revision: its commit.
    files: SHA-256 by name.
  """

  repository: str
  revision: str
  files: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Network:
  """What ran, for a record.

  Attributes:
    weights: SHA-256 of them.
    num_parameters: that were learnt.
    num_bytes: of its weights, in memory.
    flops: XLA's count for one image; None where it was not counted.
    dtype: that it ran in; its features are f32 all the same.
  """

  weights: str
  num_parameters: int
  num_bytes: int
  flops: float | None = None
  dtype: str = 'float32'

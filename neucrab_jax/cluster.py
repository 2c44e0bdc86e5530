# SPDX-License-Identifier: Apache-2.0
"""Runs pieces of work on a cluster, by Ray, which is imported when asked for.

Ray schedules, retries, moves work off a node that is lost, and scales. A
command says once which cluster it uses; who has pieces of work asks `current`.
"""

import contextlib
import dataclasses
import importlib
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax

from neucrab_jax import interruption, spelling

# How often Ray runs a piece again whose process or node died.
_MOST_RETRIES = 3
# Between two looks for Ctrl-C.
_SECONDS = 1.0
# Of the environment, what workers have as the command has it.
_PASSED_ON = ('JAX_', 'XLA_', 'KERAS_BACKEND', 'HF_')


class LostError(RuntimeError):
  """A piece of work came to no end, however often it was begun."""


@dataclasses.dataclass(frozen=True)
class Cluster:
  """A cluster that is connected.

  Attributes:
    ray: the module.
    gpus: of each piece of work.
    resources: others of each piece, by name.
  """

  ray: Any
  gpus: float
  resources: Mapping[str, float]

  def map(
    self, function: Callable[..., Any], calls: Sequence[tuple]
  ) -> Iterator[tuple[int, Any]]:
    """Calls a function of a module many times, as the cluster has room.

    Args:
      function: which returns its errors, and raises none.
      calls: the arguments of each call.

    Yields:
      In the order that they end, the number of each call and what came of it:
      a `LostError` if it was lost too often.
    """
    remote = self.ray.remote(
      num_gpus=self.gpus,
      resources=dict(self.resources),
      max_retries=_MOST_RETRIES,
    )(function)
    # What calls share is sent once.
    running = {
      remote.remote(*arguments): number
      for number, arguments in enumerate(calls)
    }
    try:
      while running:
        done, _ = self.ray.wait(list(running), timeout=_SECONDS)
        interruption.check()
        for one in done:
          try:
            found = self.ray.get(one)
          except self.ray.exceptions.RayError as error:
            found = LostError(f'{type(error).__name__}: {error}')
          yield running.pop(one), found
    finally:
      for one in running:
        self.ray.cancel(one, force=True)


def parse_resources(given: str) -> dict[str, float]:
  """Resources by name, as in 'TPU:4,memory_class:1'.

  >>> parse_resources('TPU:4')
  {'TPU': 4.0}

  Raises:
    ValueError: if it is written otherwise.
  """
  found = {}
  for part in filter(None, given.split(',')):
    name, _, amount = part.strip().partition(':')
    try:
      found[name] = float(amount)
    except ValueError:
      found[name] = 0.0
    if not name or not found[name] > 0:
      raise ValueError(
        f'A resource is NAME:AMOUNT, such as TPU:4, and not {part!r}.'
      )
  return found


def _environment() -> dict[str, str]:
  """What workers need to be like the command."""
  passed = {
    name: value
    for name, value in os.environ.items()
    if name.startswith(_PASSED_ON)
  }
  # What the command has compiled, or another worker. A node without that folder
  # makes it, or does without.
  settings = jax.config.values
  if cache := settings['jax_compilation_cache_dir']:
    least = settings['jax_persistent_cache_min_compile_time_secs']
    passed['JAX_COMPILATION_CACHE_DIR'] = cache
    passed['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = str(least)
  # Where this package is imported from, which need not be installed.
  source = str(pathlib.Path(__file__).parents[1])
  paths = [source, os.environ.get('PYTHONPATH', '')]
  return {**passed, 'PYTHONPATH': os.pathsep.join(filter(None, paths))}


_connected: list[Cluster] = []


def current() -> Cluster | None:
  """The cluster of this command, if it uses one."""
  return _connected[-1] if _connected else None


@contextlib.contextmanager
def connected(
  address: str, *, gpus: float = 0.0, resources: str = ''
) -> Iterator[Cluster]:
  """Connects to a cluster for as long as the block lasts.

  Args:
    address: 'local' for the cores and GPUs of this machine; 'auto' for the
      cluster that it is a node of; or 'ray://HOST:10001'.
    gpus: of each piece of work, maybe a part of one.
    resources: others of each, as `parse_resources` takes them.

  Raises:
    ValueError: if there is no such cluster, or Ray is not installed.
  """
  known = ('local', 'auto')
  if address not in known and not address.startswith('ray://'):
    raise spelling.unknown('cluster', address, (*known, 'ray://HOST:10001'))
  if gpus < 0:
    raise ValueError(f'cluster_gpus must not be negative, but is {gpus}.')
  wanted = parse_resources(resources)
  try:
    ray = importlib.import_module('ray')
  except ImportError as error:
    raise ValueError(
      "--cluster needs what is not installed: pip install 'neucrab_jax"
      "[cluster]', or requirements/cluster.txt."
    ) from error
  try:
    ray.init(
      address=address,
      runtime_env={'env_vars': _environment()},
      log_to_driver=False,
      logging_level='warning',
    )
  except ConnectionError as error:
    raise ValueError(
      f'There is no cluster {address!r}: {error} Start one by '
      "'ray start --head', or give --cluster=local."
    ) from error
  cluster = Cluster(ray, gpus, wanted)
  _connected.append(cluster)
  try:
    yield cluster
  finally:
    _connected.remove(cluster)
    ray.shutdown()

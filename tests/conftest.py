# SPDX-License-Identifier: Apache-2.0
"""What all tests share.

They have one core each and one session's compiled programs, by the environment,
so that pytest's workers and the processes that tests start have them too. The
shapes that signatures name are checked in every test.
"""

import ast
import importlib.metadata
import os
import pathlib
import sys
import tempfile

import jaxtyping
import pytest

# Threads of LAPACK wait by spinning: on matrices this small, and with as many
# workers as cores, that takes thirty times as long as the work.
os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
os.environ.setdefault('OMP_NUM_THREADS', '1')
# A check on an accelerator names it.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# TensorFlow imports Keras, which has one backend in a process.
os.environ.setdefault('KERAS_BACKEND', 'jax')
# Most programs run once or twice: what makes them run faster takes longer.
os.environ.setdefault('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')
# Less to compile of EM and the like; known to jaxlib 0.8 to 0.10, while of a
# flag that is not known XLA dies.
if importlib.metadata.version('jaxlib').startswith(('0.8.', '0.9.', '0.10.')):
  os.environ.setdefault('XLA_FLAGS', '--xla_cpu_use_fusion_emitters=false')

_SHARE_EVERY_PROGRAM = {
  'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
  'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1',
}
_folder = None


def _parse_again(*args, **keywords):
  try:
    return _parse(*args, **keywords)
  except SystemError:
    return _parse_again(*args, **keywords)


# Python 3.11 fails by chance where two threads parse at a time, which the hook
# does with modules and NumPy with headers (python/cpython#106905).
if sys.version_info < (3, 13):
  _parse, ast.parse = ast.parse, _parse_again

# Before anything of the package is imported.
jaxtyping.install_import_hook(
  [
    'neucrab_jax.benchmark',
    'neucrab_jax.measures',
    'neucrab_jax.models',
    'neucrab_jax.ops',
  ],
  'shape_checks.typechecker',
)


def pytest_configure(config):
  """Makes a folder for the programs that more than one process compiles."""
  global _folder
  if not hasattr(config, 'workerinput'):
    _folder = tempfile.TemporaryDirectory(prefix='neucrab_jax-compiled-')
    os.environ['JAX_COMPILATION_CACHE_DIR'] = _folder.name
    os.environ.update(_SHARE_EVERY_PROGRAM)


def pytest_unconfigure():
  if _folder is not None:
    _folder.cleanup()


def _make_home(folder: pathlib.Path) -> dict[str, str]:
  cache = folder / 'cache' / 'neucrab_jax'
  cache.mkdir(parents=True)
  # Where commands keep compiled programs.
  (cache / 'compiled').symlink_to(os.environ['JAX_COMPILATION_CACHE_DIR'])
  return {
    'HOME': str(folder),
    'XDG_CACHE_HOME': str(folder / 'cache'),
    'COLUMNS': '160',
  }


@pytest.fixture(scope='session')
def make_home():
  """Makes a command's home, where no cache of another run is met.

  Given a folder, it returns the environment; compiled programs alone are those
  of the session.
  """
  return _make_home


@pytest.fixture
def compiled_fully():
  """Compiles within a test as a user's commands do."""
  # Late: it reads the environment, and the hook comes before the package.
  import jax

  jax.config.update('jax_disable_most_optimizations', False)
  yield
  jax.config.update('jax_disable_most_optimizations', True)


@pytest.fixture
def unchecked_shapes():
  """Lets through what a signature refuses, to see what the function says."""
  jaxtyping.config.update('jaxtyping_disable', True)
  yield
  jaxtyping.config.update('jaxtyping_disable', False)

# SPDX-License-Identifier: Apache-2.0
"""What XLA says while it compiles does not reach the user's terminal."""

import os
import subprocess
import sys

import pytest

# Every measure of arrays, at a size of which XLA once folded constants for
# seconds, and said so.
_PROGRAM = """
import numpy as np
from neucrab_jax import measures
rng = np.random.default_rng(0)
labels = rng.permutation(np.arange(1000) % 10)
x = rng.standard_normal((1000, 96)) + 0.3 * np.eye(10, 96)[labels]
given = {
  'features': x,
  'source_probs': rng.dirichlet(np.ones(12), 1000),
  'num_parameters': 7,
  'upstream_accuracy': 0.5,
}
for name in measures.names():
  if name != 'early_stopping':
    measures.evaluate(name, labels=labels, **given)
"""


@pytest.mark.slow
def test_no_measure_raises_an_alarm_when_it_is_cold(tmp_path):
  cold = {
    **os.environ,
    'JAX_COMPILATION_CACHE_DIR': str(tmp_path),
    'JAX_DISABLE_MOST_OPTIMIZATIONS': '0',
    'XLA_FLAGS': '',
  }
  ran = subprocess.run(
    [sys.executable, '-c', _PROGRAM],
    env=cold,
    capture_output=True,
    text=True,
    check=False,
  )
  assert (ran.returncode, ran.stdout, ran.stderr) == (0, '', '')

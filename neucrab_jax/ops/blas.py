# SPDX-License-Identifier: Apache-2.0
"""Keeps LAPACK to one thread, where its threads cost more than they do."""

import contextlib
import functools
import sys

import threadpoolctl


@functools.lru_cache(maxsize=1)
def _libraries(with_scipy: bool) -> threadpoolctl.ThreadpoolController:
  """NumPy's, and SciPy's; to find them is to read all that is in memory."""
  del with_scipy  # It brings its own, and may be imported after the first call.
  return threadpoolctl.ThreadpoolController().select(user_api='blas')


def one_thread() -> contextlib.AbstractContextManager:
  """LAPACK's threads wait for one another in a spin, thousands of times.

  On two busy cores, two of them took fifty times as long as one.
  """
  return _libraries('scipy.linalg' in sys.modules).limit(limits=1)

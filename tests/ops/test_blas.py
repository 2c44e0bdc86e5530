# SPDX-License-Identifier: Apache-2.0
"""The threads of the libraries that the process has by then."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def test_what_is_imported_later_keeps_to_one_thread_too():
  code = (
    'import threadpoolctl\n'
    'from neucrab_jax.ops import blas\n'
    'def threads():\n'
    '  found = threadpoolctl.threadpool_info()\n'
    "  return [x['num_threads'] for x in found if x['user_api'] == 'blas']\n"
    'with blas.one_thread():\n'
    '  before = threads()\n'
    'import scipy.linalg\n'
    'with blas.one_thread():\n'
    '  after = threads()\n'
    'print({*before, *after}, len(before) < len(after))\n'
  )
  done = subprocess.run(
    [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True
  )
  assert done.stdout == '{1} True\n', done.stderr

# SPDX-License-Identifier: Apache-2.0
"""Runs a command in this process, for what a process of its own costs."""

import contextlib
import io
import sys
from collections.abc import Callable
from unittest import mock

from absl import flags
from absl.testing import flagsaver


def run(
  command: str, start: Callable[[], None], *arguments: str
) -> tuple[int, str, str]:
  """Gives the exit status of a command, and what it wrote to both streams.

  Args:
    command: its name, as the user started it.
    start: of its module.
    *arguments: flags. Programs that are compiled stay where tests keep them.
  """
  argv = [f'{command}.py', *arguments, '--nocompilation_cache']
  out, errors = io.StringIO(), io.StringIO()
  # With --config come flags for every setting, which another config has not.
  before = flagsaver.save_flag_values()
  try:
    with (
      mock.patch.object(sys, 'argv', argv),
      contextlib.redirect_stdout(out),
      contextlib.redirect_stderr(errors),
    ):
      flags.FLAGS.unparse_flags()
      start()
  except SystemExit as end:
    return end.code, out.getvalue(), errors.getvalue()
  finally:
    flagsaver.restore_flag_values(before)
  raise AssertionError('It did not end by sys.exit.')

# SPDX-License-Identifier: Apache-2.0
"""How a run says that Ctrl-C ended it."""


class Interrupted(Exception):
  """Ctrl-C ended a run; the same command goes on from what was done."""

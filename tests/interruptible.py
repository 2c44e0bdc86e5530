# SPDX-License-Identifier: Apache-2.0
"""Processes that Ctrl-C reaches."""

import signal
import subprocess


def start(arguments, **options) -> subprocess.Popen:
  """Starts a process that heeds SIGINT, whatever this one does.

  A shell's background jobs ignore it, and so would what they start. A
  `preexec_fn` would say so too, but forks, which JAX warns of.
  """
  before = signal.signal(signal.SIGINT, signal.SIG_DFL)
  try:
    return subprocess.Popen(arguments, **options)
  finally:
    signal.signal(signal.SIGINT, before)

# SPDX-License-Identifier: Apache-2.0
import contextlib
import os
import signal

import pytest

from neucrab_jax import interruption, progress

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize('number', SIGNALS)
def test_a_signal_interrupts_and_its_handler_is_put_back(number):
  before = signal.getsignal(number)
  with pytest.raises(KeyboardInterrupt), interruption.handled():
    os.kill(os.getpid(), number)
  assert signal.getsignal(number) is before


@pytest.mark.parametrize('number', SIGNALS)
def test_one_that_was_swallowed_comes_again_with_the_progress(number):
  with interruption.handled():
    with contextlib.suppress(KeyboardInterrupt):  # As a callback of JAX does.
      os.kill(os.getpid(), number)
    with pytest.raises(KeyboardInterrupt), progress.bar(2) as bar:
      bar.advance(1)
    interruption.check()  # Once is enough.


def test_one_of_an_earlier_run_is_forgotten():
  with pytest.raises(KeyboardInterrupt), interruption.handled():
    os.kill(os.getpid(), signal.SIGINT)
  with interruption.handled():
    interruption.check()

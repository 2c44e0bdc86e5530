# SPDX-License-Identifier: Apache-2.0
import contextlib
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from neucrab_jax import evaluate, finetune, interruption, progress, rank
from tests import in_process, interruptible

ROOT = pathlib.Path(__file__).parents[1]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize('number', SIGNALS)
def test_a_signal_interrupts_and_its_handler_is_put_back(number):
  before = signal.getsignal(number)
  with pytest.raises(KeyboardInterrupt), interruption.handled():
    os.kill(os.getpid(), number)
  assert signal.getsignal(number) is before
  interruption.check()  # Nor does it come again.


@pytest.mark.parametrize('number', SIGNALS)
def test_one_that_was_swallowed_comes_again_with_the_progress(number):
  with interruption.handled():
    with contextlib.suppress(KeyboardInterrupt):  # As a callback of JAX does.
      os.kill(os.getpid(), number)
    with pytest.raises(KeyboardInterrupt), progress.bar(2) as bar:
      bar.advance(1)
    interruption.check()  # Once is enough.


@pytest.mark.parametrize('number', SIGNALS)
def test_one_in_a_callback_of_the_garbage_collector_is_no_traceback(
  number, capfd
):
  class Collected:
    def __del__(self):
      os.kill(os.getpid(), number)

  with interruption.handled():
    Collected()
    with pytest.raises(KeyboardInterrupt):
      interruption.check()
  assert capfd.readouterr().err == ''


def test_a_short_block_comes_to_its_end_first():
  done = []

  @interruption.deferred()
  def save():
    with interruption.deferred():
      os.kill(os.getpid(), signal.SIGTERM)
    done.append('inner')

  with interruption.handled():
    with pytest.raises(KeyboardInterrupt):
      save()
    interruption.check()  # Once is enough.
    with pytest.raises(KeyboardInterrupt):
      os.kill(os.getpid(), signal.SIGINT)
  assert done == ['inner']


def test_one_of_an_earlier_run_is_forgotten():
  with pytest.raises(KeyboardInterrupt), interruption.handled():
    os.kill(os.getpid(), signal.SIGINT)
  with interruption.handled():
    interruption.check()


@pytest.mark.parametrize(
  'command', ['rank', 'finetune', 'evaluate', 'download', 'export']
)
@pytest.mark.parametrize('number', SIGNALS)
@pytest.mark.parametrize('as_script', [False, True])
def test_a_command_that_is_still_imported_ends_without_a_word(
  command, number, as_script, tmp_path
):
  # What is imported early, and takes a while.
  for name in ('absl', 'requests'):
    (tmp_path / f'{name}.py').write_text(
      f'import os, time\nos.kill(os.getpid(), {int(number)})\ntime.sleep(20)\n'
    )
  script = (
    f"import sys; sys.argv = ['neucrab-{command}']\n"
    f'from neucrab_jax.{command} import start'
  )
  start = ['-c', script] if as_script else ['-m', f'neucrab_jax.{command}']
  process = interruptible.start(
    [sys.executable, *start],
    env={**os.environ, 'PYTHONPATH': f'{tmp_path}{os.pathsep}{ROOT}'},
    stderr=subprocess.PIPE,
    text=True,
  )
  _, errors = process.communicate(timeout=20)
  assert (process.returncode, errors) == (interruption.STATUS, '')


def test_who_imports_a_command_keeps_handlers_of_their_own():
  before = [signal.getsignal(number) for number in SIGNALS]
  interruption.heed_from_start('neucrab_jax.rank')
  assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize('command', [rank, finetune, evaluate])
def test_ctrl_c_while_flags_are_parsed_is_a_status(command, tmp_path):
  page = tmp_path / 'page.py'
  page.write_text('def get_config():\n  raise KeyboardInterrupt\n')
  status, out, errors = in_process.run('x', command.start, f'--config={page}')
  assert (status, out, errors) == (interruption.STATUS, '', '')

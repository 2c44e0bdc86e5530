# SPDX-License-Identifier: Apache-2.0
"""What the command `download` says; `test_download` has what it does."""

import pytest

from neucrab_jax import download
from neucrab_jax.checkpoints import archives
from tests import in_process


def test_an_interrupted_command_can_go_on(tmp_path, monkeypatch):
  def interrupt(*unused):
    raise KeyboardInterrupt

  monkeypatch.setattr(download, 'download', interrupt)
  found, _, errors = in_process.run('download', download.start, '--group=x')
  assert found == 130
  assert 'run this again to go on' in errors


def test_help_names_the_flags():
  found, out, _ = in_process.run('download', download.start, '--help')
  assert found == 0
  assert '--group' in out
  assert '--dir' in out


@pytest.mark.parametrize(
  ('fetched', 'message'),
  [
    ({'downloaded': False}, 'It was there before'),
    ({'url': 'https://a'}, 'It came by https'),
    ({'url': 'http://a'}, 'It came by plain http'),
  ],
)
def test_what_is_said_of_a_file_that_nothing_pins(fetched, message):
  about = {'url': '', 'sha256': 'ab', 'known': False, 'downloaded': True}
  assert message in download._origin(
    'x', archives.Fetched(**{**about, **fetched})
  )

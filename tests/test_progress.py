# SPDX-License-Identifier: Apache-2.0
import functools
import io

import pytest
from rich import console

from neucrab_jax import progress


@pytest.mark.parametrize(
  ('terminal', 'patience', 'shown'),
  [(True, 0.0, True), (True, 60.0, False), (False, 0.0, False)],
)
def test_a_bar_is_for_long_passes_on_a_terminal(
  monkeypatch, terminal, patience, shown
):
  screen = io.StringIO()
  make_console = functools.partial(
    console.Console, file=screen, force_terminal=terminal
  )
  monkeypatch.setattr(progress.rich_console, 'Console', make_console)
  monkeypatch.setattr(progress, '_PATIENCE_SECONDS', patience)
  items = progress.track('abc', total=3, description='Reading here')
  assert list(items) == ['a', 'b', 'c']
  assert ('Reading here' in screen.getvalue()) == shown

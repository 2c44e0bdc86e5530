# SPDX-License-Identifier: Apache-2.0
import contextlib
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


@pytest.mark.parametrize('within', [False, True])
def test_a_download_is_one_more_bar_of_those_there_are(monkeypatch, within):
  screen = io.StringIO()
  make_console = functools.partial(
    console.Console, file=screen, force_terminal=True, width=120
  )
  monkeypatch.setattr(progress.rich_console, 'Console', make_console)
  around = progress.bar(10) if within else contextlib.nullcontext()
  with around, progress.download('timm/x: model.safetensors') as report:
    report(5_000_000, 10_000_000)
    progress._shown[-1].refresh()
    assert len(progress._shown) == 1
    assert len(progress._shown[-1].tasks) == (2 if within else 1)
  assert not progress._shown
  assert 'timm/x: model.safetensors' in screen.getvalue()

# SPDX-License-Identifier: Apache-2.0
"""Names are text at every exit: no markup, no formula, no escape sequence."""

import csv
import io
import json
import sys

import pytest

from neucrab_jax import storage
from neucrab_jax.reports import plots, terminal
from tests.ranking import ranked

NAMES = (
  '[red]',
  '[bold]x[end]',
  'vit[augreg]',
  ':smile:',
  r'$\frac{1}$',
  'a$b$c',
  '=1+1',
  '<b>&amp;',
  '\x1b[31mred',
  'two\rrows',
  'two\nlines',
  '\u65e5\u672c',
  'ἑ-τ',
)
# Not every system lets a name be no UTF-8.
NO_UTF8 = ('no\udcffutf',) * (sys.platform == 'linux')
RECORDED = {*NAMES, *(r'no\xffutf' for _ in NO_UTF8)}


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """A ranking of files whose names have all that a name can have."""
  folder = tmp_path_factory.mktemp('runs') / 'of[1]'
  ranked.make_files(folder, names=(*NAMES, *NO_UTF8))
  config = ranked.files_config(folder / '*.npz', 'class_separation')
  workdir = folder.parent / 'out'
  return ranked.rank(config, str(workdir)), workdir


def test_all_are_ranked_and_on_record(run):
  result, workdir = run
  assert set(ranked.scores_of(result)) == RECORDED
  written = json.loads((workdir / 'ranking.json').read_text(encoding='utf-8'))
  assert set(ranked.scores_of(written)) == RECORDED


def test_a_csv_has_a_row_for_each_and_no_formula(run):
  _, workdir = run
  text = (workdir / 'ranking.csv').read_text(encoding='utf-8')
  rows = list(csv.DictReader(io.StringIO(text)))
  assert len(rows) == len(RECORDED)
  cells = {row['checkpoint'] for row in rows}
  assert "'=1+1" in cells
  assert r'two\rrows' in cells
  assert not [cell for cell in cells if cell.startswith('=')]
  assert '\x1b' not in text


def test_a_page_shows_the_letters(run):
  _, workdir = run
  text = (workdir / 'report.html').read_text(encoding='utf-8')
  assert '&lt;b&gt;&amp;amp;' in text
  assert '<b>&amp;</' not in text
  svg = text[text.index('<svg') :]
  assert r'$\frac{1}$' in svg
  assert '[red]' in svg
  assert '\x1b' not in svg


@pytest.mark.parametrize('name', NAMES)
def test_a_terminal_shows_the_letters(name, capsys):
  console = terminal.make_console(width=200)
  terminal.tell_of(console, 'warning', [(name, f'{name} is odd')])
  console.print(terminal.one_line(name))
  shown = capsys.readouterr().out
  visible = name.replace('\x1b', r'\x1b').replace('\r', r'\r')
  visible = visible.replace('\n', r'\n')
  assert shown == f'warning {visible}: {visible} is odd\n{visible}\n'


@pytest.mark.parametrize('name', NAMES)
def test_a_plot_shows_the_letters(name):
  from matplotlib import cbook

  assert not cbook.is_math_text(plots.label(name))


def test_where_there_is_only_ascii_nothing_fails(monkeypatch):
  raw = io.BytesIO()
  monkeypatch.setattr('sys.stdout', io.TextIOWrapper(raw, encoding='ascii'))
  console = terminal.make_console(width=80)
  terminal.tell(console, 'note', 'τ = 1 ± 2 of ἑ')
  sys.stdout.flush()
  assert raw.getvalue() == b'note tau = 1 +- 2 of ?\n'


def test_numbers_stay_numbers_in_a_csv():
  text = storage.to_csv(('a', 'b', 'c'), [(-1.5, None, '-x')])
  assert text == "a,b,c\n-1.5,,'-x\n"

# SPDX-License-Identifier: Apache-2.0
"""An experiment's tables in the paper's form: as text, CSV and LaTeX."""

from __future__ import annotations

import csv
import dataclasses
import io
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich import table

from neucrab_jax import storage
from neucrab_jax.reports import terminal

if TYPE_CHECKING:
  from neucrab_jax.benchmark.record import Ablation, Alignment, Evaluation

# The paper's metrics, in its order, and what it calls them.
METRICS = {
  'recall_at_1': 'Recall@1',
  'recall_at_3': 'Recall@3',
  'rel_at_1': 'Rel@1',
  'rel_at_3': 'Rel@3',
  'pearson': 'Pearson',
  'kendall_tau': 'Kendall τ',
}
_SECONDS_AN_HOUR = 3600
# What LaTeX would read as its own, and letters that it may not have.
_LATEX = {
  '\\': r'\textbackslash{}',
  '_': r'\_',
  '%': r'\%',
  '&': r'\&',
  '#': r'\#',
  '$': r'\$',
  '{': r'\{',
  '}': r'\}',
  '~': r'\textasciitilde{}',
  '^': r'\textasciicircum{}',
  'τ': r'$\tau$',
  '−': '$-$',
  '–': '--',
}


@dataclasses.dataclass(frozen=True)
class Table:
  """Cells with a title, a header, and a name before each row."""

  title: str
  header: tuple[str, ...]
  rows: tuple[tuple[str, ...], ...]


def _number(value: float | None, digits: int = 3) -> str:
  if value is None:
    return '–'
  return f'{value:.{digits}f}'.replace('-', '−')


def _agreement(aligned: Alignment) -> Iterator[Table]:
  """The metrics, as means over tasks and on each task."""
  header = ('', *METRICS.values())
  for task in ('', *aligned.tasks):
    rows = []
    for row in aligned.rows:
      cells = row.tasks[task].metrics if task else row.average
      rows.append(
        (row.name, *(_number(cells[metric].value) for metric in METRICS))
      )
    where = task or f'mean over {len(aligned.tasks)} tasks'
    title = (
      f'{aligned.group}, {aligned.accuracy}: {where} '
      f'({len(aligned.checkpoints)} checkpoints)'
    )
    yield Table(title, header, tuple(rows))


def _seconds(aligned: Alignment) -> Table:
  """What a checkpoint costs on a task, in seconds."""
  rows = [
    (
      name,
      _number(found.score_seconds),
      _number(found.extract_seconds),
    )
    for name, found in aligned.cost.measures.items()
  ]
  rows.append(('fine-tuning', _number(aligned.cost.fine_tuning.seconds), '–'))
  return Table(
    f'{aligned.group}: seconds for a checkpoint on a task',
    ('', 'seconds', 'of the features'),
    tuple(rows),
  )


def _ablations(
  made: Mapping[tuple[str, str], Ablation],
) -> Iterator[Table]:
  """By group, NLEEP's τ under each setting, the mean over tasks."""
  for group in dict.fromkeys(group for group, _ in made):
    tasks = [task for name, task in made if name == group]
    settings: dict[tuple[str, float, int], list[float]] = {}
    for task in tasks:
      for row in made[group, task].rows:
        key = row.covariance, row.energy, row.components_per_class
        settings.setdefault(key, [])
        if row.tau is not None:
          settings[key].append(row.tau)
    counts = sorted({count for *_, count in settings})
    for covariance in dict.fromkeys(key[0] for key in settings):
      rows = []
      for energy in sorted({e for c, e, _ in settings if c == covariance}):
        cells = []
        for count in counts:
          taus = settings.get((covariance, energy, count), [])
          cells.append(_number(sum(taus) / len(taus) if taus else None))
        rows.append((f'{energy:g}', *cells))
      yield Table(
        f'{group}: NLEEP with {covariance} covariance, Kendall τ by the energy '
        'that PCA keeps (down) and components per class (across), mean over '
        f'{len(tasks)} tasks',
        ('energy', *map(str, counts)),
        tuple(rows),
      )


def tables(
  evaluation: Evaluation | None,
  ablations: Mapping[tuple[str, str], Ablation],
) -> list[Table]:
  """All tables of an experiment that are the same whenever it is run.

  Args:
    evaluation: the judgement, if there is one.
    ablations: by group and task.
  """
  made = []
  for aligned in evaluation.alignments if evaluation else ():
    made += _agreement(aligned)
  return [*made, *_ablations(ablations)]


def to_text(made: Sequence[Table]) -> str:
  """Tables as columns of a fixed width."""
  parts = []
  for one in made:
    lines = [one.header, *one.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = [
      '  '.join(
        [
          line[0].ljust(widths[0]),
          *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True)),
        ]
      ).rstrip()
      for line in lines
    ]
    parts.append('\n'.join([one.title, '', *rows]))
  return '\n\n\n'.join(parts) + '\n'


def to_csv(made: Sequence[Table]) -> str:
  """Tables below one another, one line for each cell."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(('table', 'row', 'column', 'value'))
  for one in made:
    for name, *cells in one.rows:
      for column, cell in zip(one.header[1:], cells, strict=True):
        value = '' if cell == '–' else cell.replace('−', '-')
        writer.writerow((one.title, name, column, value))
  return text.getvalue()


def _latex(text: str) -> str:
  return ''.join(_LATEX.get(letter, letter) for letter in text)


def to_latex(made: Sequence[Table]) -> str:
  """Tables as LaTeX's `tabular`, which need no package."""
  parts = []
  for one in made:
    rows = [
      ' & '.join(map(_latex, line)) + r' \\' for line in (one.header, *one.rows)
    ]
    columns = 'l' + 'r' * (len(one.header) - 1)
    parts.append(
      '\n'.join(
        [
          r'\begin{table}',
          r'\centering',
          rf'\caption{{{_latex(one.title)}}}',
          rf'\begin{{tabular}}{{{columns}}}',
          r'\hline',
          rows[0],
          r'\hline',
          *rows[1:],
          r'\hline',
          r'\end{tabular}',
          r'\end{table}',
        ]
      )
    )
  return '\n\n'.join(parts) + '\n'


def write(
  folder: pathlib.Path,
  evaluation: Evaluation | None,
  ablations: Mapping[tuple[str, str], Ablation],
) -> None:
  """Prints tables and seconds, and writes each as .txt, .csv and .tex."""
  parts = {'tables': tables(evaluation, ablations)}
  if evaluation:
    # Of this machine and this run: in files of their own.
    parts['seconds'] = [_seconds(one) for one in evaluation.alignments]
  console = terminal.make_console()
  for name, made in parts.items():
    text = to_text(made)
    storage.write_text(folder / f'{name}.txt', text)
    storage.write_text(folder / f'{name}.csv', to_csv(made))
    storage.write_text(folder / f'{name}.tex', to_latex(made))
    console.print(text, soft_wrap=True)
    terminal.tell_files(
      console,
      folder,
      ', '.join(f'{name}.{end}' for end in ('txt', 'csv', 'tex')),
    )


def tell(kind: str, lines: Sequence[str]) -> None:
  """Prints what is missing, or failed, a line each.

  Args:
    kind: what each line begins with: 'note', or 'failed'.
    lines: what to print.
  """
  console = terminal.make_console()
  for line in lines:
    terminal.tell(console, kind, line)


def show_price(
  rows: Sequence[tuple[str, str, float, float]], *, rate: float
) -> None:
  """Prints what an experiment costs.

  Args:
    rows: by group and task, FLOPs of extraction and of fine-tuning.
    rate: FLOP/s of this machine.
  """
  console = terminal.make_console()
  shown = table.Table(
    title='what it costs',
    caption=f'hours at {rate / 1e9:.0f} GFLOP/s, which a convolution reaches '
    'here now; decoding, compiling and the measures come on top',
  )
  shown.add_column('group', overflow='fold')
  shown.add_column('task', overflow='fold')
  for column in ('features, TFLOP', 'hours', 'fine-tuning, TFLOP', 'hours'):
    shown.add_column(column, justify='right')
  extracting = sum(row[2] for row in rows)
  training = sum(row[3] for row in rows)
  total = 'all', '', extracting, training
  for group, task, extracted, trained in (*rows, total):
    cells = (
      cell
      for flops in (extracted, trained)
      for cell in (
        f'{flops / 1e12:.3g}',
        f'{flops / rate / _SECONDS_AN_HOUR:.3g}',
      )
    )
    shown.add_row(group, task, *cells)
  console.print(shown)

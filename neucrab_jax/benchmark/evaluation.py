# SPDX-License-Identifier: Apache-2.0
"""Judges measures by how well they predict the truth.

A run leaves `evaluation.json`, `evaluation.csv`, `report.html` and
`config.json` in its folder; all but the last are views of the first.
"""

import csv
import io
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_collections
from rich import console as rich_console
from rich import progress

from neucrab_jax import parallel, records
from neucrab_jax.benchmark import (
  contest,
  evaluation_report,
  evaluation_terminal,
  evidence,
  joining,
  judging,
  predictions,
  scoring,
  truth,
  uncertainty,
)
from neucrab_jax.ops import pca

SCHEMA = 1

Record = dict[str, Any]


_GROUP = ('rankings', 'accuracies', 'order')


def _groups(config: ml_collections.ConfigDict) -> Mapping[str, Any]:
  """By name; one alone may stand in the config itself."""
  given = config.to_dict()
  groups = given.get('groups', {given.get('group'): given})
  return {
    name: {key: group.get(key, '') for key in _GROUP}
    for name, group in groups.items()
  }


def _read(
  config: ml_collections.ConfigDict,
) -> list[tuple[contest.Contest, list[predictions.Scores]]]:
  pairs = []
  for name, group in _groups(config).items():
    if not group['accuracies']:
      raise ValueError(
        f'{name}: there are no accuracies to judge by. Give '
        '--config.accuracies, the folder that fine-tuning left or a CSV.'
      )
    files = evidence.find(group['rankings'], setting='rankings')
    scores = predictions.read(files)
    truths = truth.read(group['accuracies'])
    pairs += [
      (duel, scores)
      for duel in joining.join(
        name, scores=scores, truths=truths, order=group['order']
      )
    ]
  return pairs


def _csv(evaluation: Record) -> str:
  """One row for each contestant, task and metric; 'average' is over tasks."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(
    ('group', 'truth', 'task', 'name', 'role', 'metric', 'value', 'low', 'high')
  )
  for duel in evaluation['contests']:
    for row in duel['rows']:
      parts = {'average': row['average']} | {
        task: found['metrics'] for task, found in row['tasks'].items()
      }
      for task, found in parts.items():
        for metric, cell in found.items():
          whose = duel['group'], duel['truth'], task, row['name'], row['role']
          writer.writerow(
            (*whose, metric, cell['value'], cell['low'], cell['high'])
          )
  return text.getvalue()


def _sources(evaluation: list[Record]) -> list[dict[str, str]]:
  files = dict.fromkeys(
    source
    for duel in evaluation
    for source in (
      *(
        source
        for row in duel['rows']
        for task in row['tasks'].values()
        for source in task.get('sources', ())
      ),
      *(point['source'] for task in duel['points'].values() for point in task),
    )
  )
  return [
    {
      'file': file,
      'sha256': records.digest(pathlib.Path(file).read_bytes()),
    }
    for file in files
    if file != joining.FROM_CONFIG
  ]


def evaluate(config: ml_collections.ConfigDict, workdir: str) -> Record:
  """Judges, shows the judgement, and writes it.

  Args:
    config: as `configs/evaluate.py`; or with `groups`, each with `rankings`,
      `accuracies` and `order`.
    workdir: the folder for the results.

  Returns:
    The record that `evaluation.json` holds.

  Raises:
    ValueError: if the input is bad.
  """
  if config.num_resamples < 1:
    raise ValueError(
      f'num_resamples must be at least 1, not {config.num_resamples}.'
    )
  folder = pathlib.Path(workdir).expanduser()
  records.check_writable(folder)
  pairs = _read(config)
  contests = []
  bars = progress.Progress(
    console=rich_console.Console(stderr=True), transient=True
  )
  # The products are small: threads would wait longer than they work.
  with bars, pca.one_lapack_thread():
    bar = bars.add_task('', total=sum(len(d.contestants) for d, _ in pairs))
    for duel, scores in pairs:
      bars.update(bar, description=f'{duel.group}, {duel.truth}')
      judged = judging.judge(
        duel, scores, num_resamples=config.num_resamples, seed=config.seed
      )
      for record in judged:
        if record:
          contests.append(record)
        else:
          bars.advance(bar)
  evaluation = {
    'schema': SCHEMA,
    'contests': contests,
    'num_resamples': config.num_resamples,
    'confidence': uncertainty.CONFIDENCE,
    'sources': _sources(contests),
    'environment': scoring.environment(seed=config.seed),
  }
  if parallel.is_primary():
    settings = json.loads(config.to_json_best_effort())
    records.write_json(folder / 'config.json', settings)
    records.write_json(folder / 'evaluation.json', evaluation)
    records.write_text(folder / 'evaluation.csv', _csv(evaluation))
    page = evaluation_report.render(evaluation, config=settings)
    records.write_text(folder / 'report.html', page)
    evaluation_terminal.show(evaluation, folder)
  return evaluation

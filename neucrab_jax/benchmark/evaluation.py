# SPDX-License-Identifier: Apache-2.0
"""Judges measures by how well they predict the truth.

A run leaves `evaluation.json`, `evaluation.csv`, `report.html` and
`config.json` in its folder; all but the last are views of the first.
"""

import csv
import dataclasses
import io
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_collections

from neucrab_jax import parallel, records
from neucrab_jax.benchmark import (
  contest,
  evaluation_report,
  evaluation_terminal,
  evidence,
  group_rankings,
  joining,
  judging,
  predictions,
  scoring,
  terminal,
  truth,
  uncertainty,
)
from neucrab_jax.ops import pca

SCHEMA = 1

Record = dict[str, Any]


_GROUP = ('checkpoints', 'rankings', 'accuracies', 'order')

Pair = tuple[contest.Contest, list[predictions.Scores]]


def _groups(config: ml_collections.ConfigDict) -> Mapping[str, Any]:
  """By name; one alone may stand in the config itself."""
  given = config.to_dict()
  groups = given.get('groups', {given.get('group'): given})
  return {
    name: {key: group.get(key, '') for key in _GROUP}
    for name, group in groups.items()
  }


def _truths(name: str, group: Mapping[str, Any]) -> truth.Truths:
  if not group['accuracies']:
    raise ValueError(
      f'{name}: there are no accuracies to judge by. Give '
      '--config.accuracies, the folder that fine-tuning left or a CSV.'
    )
  return truth.read(group['accuracies'])


def _join(
  config: ml_collections.ConfigDict, folder: pathlib.Path
) -> list[Pair]:
  """Contests, and the scores that each was made from.

  Rankings of groups that name `checkpoints` are made first.
  """
  groups = _groups(config)
  truths = {name: _truths(name, group) for name, group in groups.items()}
  runs = {}
  for name, group in groups.items():
    if chosen := group['checkpoints']:
      runs[name] = group_rankings.prepare(
        config, chosen, folder / 'rankings' / name
      )
      truths[name] = group_rankings.known_truths(
        name, chosen, runs[name], truths[name]
      )
  found = {
    name: (evidence.find(group['rankings'], setting='rankings'), [])
    for name, group in groups.items()
    if name not in runs
  }
  if runs:
    total = sum(run.size for several in runs.values() for run in several)
    with terminal.bar(total) as bar:
      for name, several in runs.items():
        found[name] = group_rankings.score(several, bar)
  pairs = []
  for name, group in groups.items():
    files, notes = found[name]
    scores = predictions.read(files)
    pairs += [
      (dataclasses.replace(duel, notes=(*duel.notes, *notes)), scores)
      for duel in joining.join(
        name, scores=scores, truths=truths[name], order=group['order']
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
      `accuracies` and `order`; or as `configs/neucrab_mini.py`, whose groups
      have `checkpoints` that are to be ranked first.
    workdir: the folder for the results.

  Returns:
    The record that `evaluation.json` holds.

  Raises:
    ValueError: if the input is bad.
    ranking.Interrupted: on Ctrl-C while ranking; the next run goes on.
  """
  if config.num_resamples < 1:
    raise ValueError(
      f'num_resamples must be at least 1, not {config.num_resamples}.'
    )
  folder = pathlib.Path(workdir).expanduser()
  records.check_writable(folder)
  pairs = _join(config, folder)
  contests = []
  total = sum(len(duel.contestants) for duel, _ in pairs)
  # The products are small: threads would wait longer than they work.
  with terminal.bar(total) as bar, pca.one_lapack_thread():
    for duel, scores in pairs:
      bar.describe(f'{duel.group}, {duel.truth}')
      judged = judging.judge(
        duel, scores, num_resamples=config.num_resamples, seed=config.seed
      )
      for record in judged:
        if record:
          contests.append(record)
        else:
          bar.advance(1)
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

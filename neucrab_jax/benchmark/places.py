# SPDX-License-Identifier: Apache-2.0
"""The places of a ranking, and its table."""

import csv
import io
from typing import Any

_TIED = 'Its score is shared: the order within the tie means nothing.'

Record = dict[str, Any]


def in_order(entries: list[Record]) -> list[Record]:
  """Best first; equal scores stay in the order given, and say so.

  Each but the last says in what share of the resamples it scores higher than
  the next: the resamples are the same examples for both.
  """
  ordered = sorted(entries, key=lambda entry: -entry['score'])
  scores = [entry['score'] for entry in ordered]
  resamples = [entry.pop('resamples') for entry in ordered]
  placed = []
  for place, entry in enumerate(ordered, start=1):
    placed.append({'rank': place, **entry})
    if scores.count(entry['score']) > 1:
      placed[-1]['warnings'] = [*entry['warnings'], _TIED]
    if place < len(ordered) and resamples[0]:
      pairs = zip(resamples[place - 1], resamples[place], strict=True)
      above = [mine > next_one for mine, next_one in pairs]
      placed[-1]['above_next'] = sum(above) / len(above)
  return placed


_COLUMNS = (
  'rank',
  'checkpoint',
  'score',
  'score_std',
  'score_stderr',
  'above_next',
  'feature_dim',
  'cached',
)


def as_csv(ranking: Record) -> str:
  """A ranking as a table."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  # In the order they were taken, each once.
  steps = dict.fromkeys(
    step for entry in ranking['ranking'] for step in entry['seconds']
  )
  writer.writerow([*_COLUMNS, *(f'seconds_{step}' for step in steps)])
  for entry in ranking['ranking']:
    seconds = entry['seconds']
    writer.writerow(
      [
        *(entry.get(column, '') for column in _COLUMNS),
        *(seconds.get(step, '') for step in steps),
      ]
    )
  return text.getvalue()

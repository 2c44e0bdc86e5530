# SPDX-License-Identifier: Apache-2.0
"""`report.html` of an evaluation: one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from neucrab_jax.reports import agreement, page, points, scatter

if TYPE_CHECKING:
  from neucrab_jax.benchmark.record import Alignment, Evaluation

# The paper's form; the other reading of Recall is with the details.
_MOST_COLUMNS = 7


def _scatters(aligned: Alignment) -> dict[str, list[points.Picture]]:
  """By task, a picture for each measure and control that has scores."""
  judged = {
    row.name: row
    for row in aligned.rows
    if row.role != 'ceiling' and row.leave_one_out
  }
  pictures = {
    task: [
      scatter.draw(
        found, name, tau=row.tasks[task].metrics['kendall_tau'].value
      )
      for name, row in judged.items()
    ]
    for task, found in aligned.points.items()
  }
  return {
    task: [picture for picture in drawn if picture]
    for task, drawn in pictures.items()
  }


def _costs(aligned: Alignment) -> list[points.Picture]:
  """Agreement against seconds, and against FLOPs, where they are known."""
  taus = {row.name: row.average['kendall_tau'] for row in aligned.rows}
  costs = {
    name: found
    for name, found in aligned.cost.measures.items()
    if taus[name].value is not None
  }
  extracted = all(found.extract_seconds is not None for found in costs.values())
  seconds = {
    name: found.score_seconds + (found.extract_seconds or 0) * extracted
    for name, found in costs.items()
  }
  flops = {
    name: found.flops
    for name, found in costs.items()
    if found.flops is not None
  }
  unit = 'seconds' if extracted else 'seconds, features given,'
  whole = aligned.cost.fine_tuning
  return [
    agreement.against_cost(
      [
        {'name': name, 'cost': value, 'tau': taus[name].value}
        | {'low': taus[name].low, 'high': taus[name].high}
        for name, value in values.items()
      ],
      unit=unit,
      fine_tuning=end,
    )
    for values, unit, end in (
      (seconds, unit, whole.seconds),
      (flops, 'FLOPs (estimated)', whole.flops),
    )
    if values
  ]


def _extremes(taus: Mapping[str, float | None]) -> list[tuple[str, float]]:
  """The lowest and the highest τ without one checkpoint, and which."""
  known = [(name, tau) for name, tau in taus.items() if tau is not None]
  if not known:
    return []
  return [pick(known, key=lambda pair: pair[1]) for pick in (min, max)]


def render(
  evaluation: Evaluation,
  *,
  labels: Mapping[str, str],
  config: dict[str, Any],
) -> str:
  """Renders the page.

  Args:
    evaluation: the record of `evaluation.json`.
    labels: what to call each metric.
    config: what the run was asked for.

  Returns:
    HTML that needs no other file and no network.
  """
  files = [source.file for source in evaluation.sources]
  return page.render(
    'evaluation.html.j2',
    config=config,
    evaluation=evaluation,
    environment=evaluation.environment,
    columns=list(labels)[:_MOST_COLUMNS],
    metrics=labels,
    scatters=[_scatters(aligned) for aligned in evaluation.alignments],
    costs=[_costs(aligned) for aligned in evaluation.alignments],
    extremes=_extremes,
    cite=lambda file: files.index(file) + 1 if file in files else None,
    shade=agreement.shade,
    ink=agreement.ink,
  )

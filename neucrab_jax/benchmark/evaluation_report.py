# SPDX-License-Identifier: Apache-2.0
"""`report.html` of an evaluation: one self-contained page."""

import json
from collections.abc import Mapping
from typing import Any

from neucrab_jax.benchmark import evaluation_plots, metrics, page


def _number(value: float | None, digits: int = 3) -> str:
  """With a true minus; what is not defined is a dash."""
  if value is None:
    return '–'
  return f'{value:.{digits}f}'.replace('-', '−')


def fill(template: str, **context: Any) -> str:
  """Renders a template, with how numbers look."""
  return page.render(
    template,
    number=_number,
    shade=evaluation_plots.shade,
    ink=evaluation_plots.ink,
    **context,
  )


def _scatters(duel: Mapping[str, Any]) -> dict[str, list[str]]:
  """By task, a plot for each measure and control that has scores."""
  judged = {
    row['name']: row
    for row in duel['rows']
    if row['role'] != 'ceiling' and 'leave_one_out' in row
  }
  return {
    task: [
      evaluation_plots.scatter(
        points,
        name,
        tau=row['tasks'][task]['metrics']['kendall_tau']['value'],
      )
      for name, row in judged.items()
    ]
    for task, points in duel['points'].items()
  }


def _costs(duel: Mapping[str, Any]) -> list[str]:
  """Agreement against seconds, and against FLOPs, where they are known."""
  taus = {row['name']: row['average']['kendall_tau'] for row in duel['rows']}
  costs = {
    name: found
    for name, found in duel['cost']['measures'].items()
    if taus[name]['value'] is not None
  }
  extracted = all(
    found['extract_seconds'] is not None for found in costs.values()
  )
  seconds = {
    name: found['score_seconds'] + (found['extract_seconds'] or 0) * extracted
    for name, found in costs.items()
  }
  flops = {
    name: found['flops']
    for name, found in costs.items()
    if found['flops'] is not None
  }
  unit = 'seconds' if extracted else 'seconds, features given,'
  truth = duel['cost']['fine_tuning']
  return [
    evaluation_plots.cost(
      [
        {'name': name, 'cost': value, 'tau': taus[name]['value']}
        | {'low': taus[name]['low'], 'high': taus[name]['high']}
        for name, value in values.items()
      ],
      unit=unit,
      fine_tuning=end,
    )
    for values, unit, end in (
      (seconds, unit, truth['seconds']),
      (flops, 'FLOPs (estimated)', truth['flops']),
    )
    if values
  ]


def _extremes(taus: Mapping[str, float | None]) -> list[tuple[str, float]]:
  """The lowest and the highest τ without one checkpoint, and which."""
  known = [(name, tau) for name, tau in taus.items() if tau is not None]
  if not known:
    return []
  return [pick(known, key=lambda pair: pair[1]) for pick in (min, max)]


def render(evaluation: dict[str, Any], *, config: dict[str, Any]) -> str:
  """Renders the page.

  Args:
    evaluation: the record of `evaluation.json`.
    config: what the run was asked for.

  Returns:
    HTML that needs no other file and no network.
  """
  files = [source['file'] for source in evaluation['sources']]
  return fill(
    'evaluation.html.j2',
    evaluation=evaluation,
    # The paper's form; the other reading of Recall is with the details.
    columns=list(metrics.METRICS)[:7],
    metrics={name: label for name, (label, _) in metrics.METRICS.items()},
    scatters=[_scatters(duel) for duel in evaluation['contests']],
    costs=[_costs(duel) for duel in evaluation['contests']],
    extremes=_extremes,
    cite=lambda file: files.index(file) + 1 if file in files else None,
    config=json.dumps(config, indent=2),
  )

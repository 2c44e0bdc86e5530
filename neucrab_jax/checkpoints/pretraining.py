# SPDX-License-Identifier: Apache-2.0
"""The record beside each bundled checkpoint: how its weights were made."""

import msgspec


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
  """What a checkpoint is, and what it was trained on.

  Attributes:
    source: of the images.
    objectives: whose losses are added; 'classify' is the one with classes.
    labelled: the share of training examples whose label was used.
    share: of the run's steps that this checkpoint has seen.
    architecture: a name of `models.names()`.
    learning_rate: the peak of its schedule.
    seed: of initialisation, data, batches and augmentation.
    steps: that were taken.
  """

  source: str
  objectives: tuple[str, ...]
  labelled: float
  share: float
  architecture: str
  learning_rate: float
  seed: int
  steps: int


class Pretraining(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
  """How a bundled checkpoint was made.

  Attributes:
    command: that makes it again.
    recipe: what it was trained on.
    num_parameters: of the backbone and its head.
    first_losses: of the first steps, for whoever takes them again.
    final_loss: of held-out examples; None without training.
    final_accuracy: of held-out examples; None where the objective has none.
    versions: by package.
    sha256: of the file of weights.
  """

  command: str
  recipe: Recipe
  num_parameters: int
  first_losses: tuple[float, ...]
  final_loss: float | None
  final_accuracy: float | None
  versions: dict[str, str]
  sha256: str = ''

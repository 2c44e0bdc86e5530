# SPDX-License-Identifier: Apache-2.0
"""The rounds of a race, each on more examples than the one before."""

# Examples of the first round; fewer tell too little.
_FIRST = 100
# There are at least so many of each class, on average.
_OF_A_CLASS = 2
# By which the examples of the rounds grow.
_GROWTH = 2


def _first(num_classes: int) -> int:
  return max(_FIRST, _OF_A_CLASS * num_classes)


def sizes(num_examples: int, *, num_classes: int) -> tuple[int, ...]:
  """How many examples each round has, those of the rounds before among them.

  >>> sizes(1000, num_classes=10)
  (100, 200, 400, 800, 1000)
  """
  found, size = [], _first(num_classes)
  while size < num_examples:
    found.append(size)
    size *= _GROWTH
  return (*found, num_examples)


def batch_size(most: int, *, num_classes: int) -> int:
  """The largest batch of at most so many that fills the rounds, none padded.

  >>> [batch_size(most, num_classes=10) for most in (128, 64, 1)]
  [100, 50, 1]
  """
  first = _first(num_classes)
  fitting = (n for n in range(min(most, first), 0, -1) if first % n == 0)
  return next(fitting, most)

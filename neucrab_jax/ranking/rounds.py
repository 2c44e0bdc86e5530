# SPDX-License-Identifier: Apache-2.0
"""The rounds of a race, each on more examples than the one before."""

import itertools

# Examples of the first round; fewer tell too little.
_FIRST = 100
# There are at least so many of each class, on average.
_OF_A_CLASS = 2
# The examples of a round, in fifths of the first one's, or of what these are
# doubled to, again and again. Larger steps drop a checkpoint later; smaller
# ones restore and score it more often.
_FIFTHS = (5, 6, 7, 8)


def _fifth(num_classes: int) -> int:
  """A fifth of the examples of the first round."""
  return -(-max(_FIRST, _OF_A_CLASS * num_classes) // 5)


def sizes(num_examples: int, *, num_classes: int) -> tuple[int, ...]:
  """How many examples each round has, those of the rounds before among them.

  >>> sizes(500, num_classes=10)
  (100, 120, 140, 160, 200, 240, 280, 320, 400, 480, 500)
  """
  fifth = _fifth(num_classes)
  growing = (
    fifths * fifth << doublings
    for doublings in itertools.count()
    for fifths in _FIFTHS
  )
  smaller = itertools.takewhile(lambda size: size < num_examples, growing)
  return (*smaller, num_examples)


def batch_size(most: int, *, num_classes: int) -> int:
  """The largest batch of at most so many that fills the rounds, none padded.

  >>> [batch_size(most, num_classes=10) for most in (128, 16, 1)]
  [20, 10, 1]
  """
  fifth = _fifth(num_classes)
  fitting = (n for n in range(min(most, fifth), 0, -1) if fifth % n == 0)
  return next(fitting, most)

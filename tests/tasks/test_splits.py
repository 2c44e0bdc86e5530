# SPDX-License-Identifier: Apache-2.0
"""Splits as others call them, and parts of splits in every source."""

import numpy as np
import pytest
from PIL import Image

from neucrab_jax import tasks
from neucrab_jax.tasks import splits

N = 60
LABELS = np.sort(np.arange(N) % 3)  # By class, as a folder has them.


@pytest.fixture(params=['folder', 'npz', 'digits', 'shapes'])
def task(request, tmp_path):
  """A task of each source that has no parts of its own."""
  values = np.arange(N, dtype=np.uint8)
  images = np.broadcast_to(values[:, None, None], (N, 4, 4))
  if request.param == 'folder':
    for i in range(N):
      path = tmp_path / 'task' / 'abc'[LABELS[i]] / f'{i:02}.png'
      path.parent.mkdir(parents=True, exist_ok=True)
      Image.fromarray(images[i].copy()).save(path)
    return tasks.load(str(tmp_path / 'task'))
  if request.param == 'npz':
    np.savez(tmp_path / 'task.npz', images=images, labels=LABELS)
    return tasks.load(str(tmp_path / 'task.npz'))
  return tasks.load(request.param)


def show(examples):
  """The images as bytes, which tell them from each other."""
  return [
    decode().tobytes() for decode in examples.open(np.arange(len(examples)))
  ]


# Expressions, and where they begin and end among n examples.
PARTS = {
  'train[:80%]': lambda n: (0, round(0.8 * n)),
  'train[80%:]': lambda n: (round(0.8 * n), n),
  'train[20%:50%]': lambda n: (round(0.2 * n), round(0.5 * n)),
  'train[:30]': lambda n: (0, 30),
  'train[30:]': lambda n: (30, n),
  'train[-20%:]': lambda n: (n - round(0.2 * n), n),
  'train[-30:]': lambda n: (n - 30, n),
  'train[:-20]': lambda n: (0, n - 20),
  'Train[:50%]': lambda n: (0, round(0.5 * n)),
}


@pytest.mark.parametrize('expression', PARTS)
def test_a_part_has_its_share(task, expression):
  whole, part = task.read('train'), task.read(expression)
  start, stop = PARTS[expression](len(whole))
  assert len(part) == stop - start
  assert part.labels.dtype == np.int32
  assert part.fingerprint not in ('', whole.fingerprint)
  assert part.fingerprint == task.read(expression).fingerprint
  # Of each class, too, up to what rounding at both ends can do.
  expected = np.bincount(whole.labels) * len(part) / len(whole)
  counts = np.bincount(part.labels, minlength=task.num_classes)
  assert np.all(np.abs(counts - expected) < 2)


def test_an_image_keeps_its_label(task):
  whole, part = task.read('train'), task.read('train[:50%]')
  label = dict(zip(show(whole), whole.labels, strict=True))
  assert [label[image] for image in show(part)] == list(part.labels)
  indices = np.array([1, 4, 7])
  some = [decode().tobytes() for decode in part.open(indices)]
  assert some == [show(part)[index] for index in indices]


@pytest.mark.parametrize('cut', ['80%', '30', '-10', '-33%'])
def test_two_parts_make_the_whole(task, cut):
  whole = task.read('train')
  first, second = (
    show(task.read(f'train[{part}]')) for part in (f':{cut}', f'{cut}:')
  )
  assert sorted([*first, *second]) == sorted(show(whole))


@pytest.mark.parametrize(
  'expression', ['train[:]', 'train[:100%]', 'train[0:]', 'train[-100%:]']
)
def test_the_whole_is_the_split_itself(task, expression):
  assert task.read(expression).fingerprint == task.read('train').fingerprint


@pytest.mark.parametrize(
  ('expression', 'message'),
  [
    ('train[30:30]', 'has none of the'),
    ('train[50%:20%]', 'has none of the'),
    ('train[100000:]', r'only \d+ examples, and not 100000'),
    ('train[:100000]', r'only \d+ examples, and not 100000'),
    ('train[-100000:]', r'only \d+ examples, and not 100000'),
    ('train[:120%]', 'no 120% of anything'),
    ('train[:1]', 'at least two classes'),
    ('tran[:10%]', "'tran'.*mean 'train'"),
    ('train[10%]', r'looks like "train\[:80%\]"'),
    ('train[:10%', r'looks like "train\[:80%\]"'),
    ('train[:0.5]', r'looks like "train\[:80%\]"'),
    ('train[::2]', r'looks like "train\[:80%\]"'),
    ('train+test', r'looks like "train\[:80%\]"'),
    ('', 'Unknown split'),
  ],
)
def test_what_is_no_part_is_refused(task, expression, message):
  with pytest.raises(ValueError, match=message):
    task.read(expression)


def test_the_order_of_parts_stays(tmp_path):
  # Else a record of 'train[:5]' would be of other examples than it says.
  np.savez(
    tmp_path / 'task.npz',
    images=np.arange(12, dtype=np.uint8)[:, None, None],
    labels=np.arange(12) % 2,
  )
  task = tasks.load(str(tmp_path / 'task.npz'))
  values = [image[0] for image in show(task.read('train[:5]'))]
  assert values == [3, 4, 7, 9, 10]


@pytest.mark.parametrize(
  ('name', 'known', 'resolved'),
  [
    ('val', ('train', 'validation'), 'validation'),
    ('validation', ('train', 'val'), 'val'),
    ('valid', ('train', 'validation'), 'validation'),
    ('Test', ('train', 'test'), 'test'),
    ('val', ('val', 'validation'), 'val'),
    ('val', ('train', 'test'), 'val'),
    ('val200', ('validation', 'val200'), 'val200'),
    ('unlabelled', ('train', 'unlabelled'), 'unlabelled'),
  ],
)
def test_names_are_resolved(name, known, resolved):
  assert splits.resolve(name, known) == resolved


@pytest.mark.parametrize(
  ('expression', 'resolved'),
  [
    ('val[:10%]+train', 'validation[:10%]+train'),
    (' val + Test[5:]', 'validation+test[5:]'),
    ('train[:10%]+all', 'train[:10%]+all'),
    ('vel[:3]', 'vel[:3]'),
  ],
)
def test_names_in_expressions_are_resolved(expression, resolved):
  known = ('train', 'validation', 'test')
  assert splits.resolve_all(expression, known).replace(' + ', '+') == resolved


@pytest.mark.parametrize('name', ['digits', 'shapes', 'photos'])
@pytest.mark.parametrize('spelling', ['val', 'valid', 'Validation'])
def test_bundled_tasks_know_other_spellings(name, spelling):
  task = tasks.load(name)
  validation = task.read('validation')
  assert task.read(spelling).fingerprint == validation.fingerprint

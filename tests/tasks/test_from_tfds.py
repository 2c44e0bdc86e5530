# SPDX-License-Identifier: Apache-2.0
"""Tasks from TFDS: mocked ones, and small real ones written to disk."""

import concurrent.futures
import types

import numpy as np
import pytest
import tensorflow_datasets as tfds

from neucrab_jax import tasks
from neucrab_jax.tasks import from_tfds

N = 40


@pytest.fixture
def mocked():
  with tfds.testing.mock_data(num_examples=N):
    yield


def make_images(n, *, channels=3, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (n, 5, 4, channels)).astype(np.uint8)


def store(data_dir, name, splits, *, features=None, version='1.0.0'):
  """Writes a real data set; `splits` maps names to lists of examples."""
  tfds.dataset_builders.store_as_tfds_dataset(
    name=name,
    version=version,
    features=tfds.features.FeaturesDict(
      features
      or {
        'image': tfds.features.Image(),
        'label': tfds.features.ClassLabel(num_classes=4),
        'note': tfds.features.Text(),
      }
    ),
    split_datasets={
      split: list(enumerate(examples)) for split, examples in splits.items()
    },
    data_dir=data_dir,
    disable_shuffling=True,
  )


def make_rows(n, *, seed=0):
  images = make_images(n, seed=seed)
  return [
    {'image': image, 'label': i % 4, 'note': str(i)}
    for i, image in enumerate(images)
  ]


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  data_dir = tmp_path_factory.mktemp('tfds')
  splits = {'train': make_rows(600), 'test': make_rows(30, seed=1)}
  store(data_dir, 'figures', splits)
  return data_dir


@pytest.mark.parametrize(
  ('name', 'num_classes', 'split'),
  [
    ('caltech101', 102, 'train'),
    ('oxford_flowers102', 102, 'trainval'),
    ('patch_camelyon', 2, 'train800val200'),
    ('sun397', 397, 'validation'),
    ('mnist', 10, 'train[:10%]'),
    ('cats_vs_dogs', 2, 'train'),
    ('sun397/standard-part1-120k', 397, 'train+test'),
    ('imagenet_v2/topimages:3.0.0', 1000, 'test'),
  ],
)
@pytest.mark.usefixtures('mocked')
def test_mocked_data_reads_the_same_each_time(name, num_classes, split):
  task = tasks.load(name)
  first, again = task.read(split), task.read(split)
  assert task.num_classes == num_classes == len(task.class_names)
  assert len(first) == N
  assert first.labels.dtype == np.int32
  np.testing.assert_array_equal(first.labels, again.labels)
  assert first.fingerprint == again.fingerprint
  indices = np.array([0, 3, 4, N - 1])
  for one, two in zip(first.open(indices), again.open(indices), strict=True):
    image = one()
    assert image.dtype == np.uint8
    assert image.shape[2] == 3
    np.testing.assert_array_equal(image, two())


# Of images and labels only: from other features the mock draws other images.
@pytest.mark.parametrize('name', ['mnist', 'cmaterdb'])
@pytest.mark.usefixtures('mocked')
def test_images_and_labels_are_those_of_tfds(name):
  builder = tfds.builder(name)
  plain = builder.as_dataset(
    split='train', decoders={'image': tfds.decode.SkipDecoding()}
  )
  decode = builder.info.features['image'].decode_example
  examples = tasks.load(name).read('train')
  for row, label, ours in zip(
    plain, examples.labels, examples.open(np.arange(N)), strict=True
  ):
    assert int(row['label']) == label
    theirs = np.asarray(decode(row['image']))
    np.testing.assert_array_equal(
      ours(), np.broadcast_to(theirs, (*theirs.shape[:2], 3))
    )


def test_a_real_data_set_keeps_the_order_of_its_files(data_dir):
  task = tasks.load('figures', data_dir)
  assert task.splits == ('train', 'test')
  examples = task.read('train')
  np.testing.assert_array_equal(examples.labels, np.arange(600) % 4)
  # More than one step through TensorFlow, and not from the start.
  indices = np.array([7, 255, 256, 300, 599])
  with concurrent.futures.ThreadPoolExecutor(3) as pool:
    decoded = list(pool.map(lambda decode: decode(), examples.open(indices)))
  np.testing.assert_array_equal(decoded, make_images(600)[indices])


@pytest.mark.parametrize(
  ('split', 'positions'),
  [
    ('train[:10%]', range(60)),
    ('train[590:]', range(590, 600)),
    ('train[:2]+train[3:5]', [0, 1, 3, 4]),
    ('Train[:2]+training[3:5]', [0, 1, 3, 4]),
  ],
)
def test_split_expressions(data_dir, split, positions):
  examples = tasks.load('figures', data_dir).read(split)
  decoded = [decode() for decode in examples.open(np.arange(len(examples)))]
  np.testing.assert_array_equal(decoded, make_images(600)[list(positions)])
  np.testing.assert_array_equal(examples.labels, np.array(positions) % 4)


@pytest.mark.parametrize('split', ['train+test', 'all'])
def test_all_splits_together(data_dir, split):
  assert len(tasks.load('figures', data_dir).read(split)) == 630


@pytest.mark.parametrize(
  ('split', 'message'),
  [
    ('trian', r"'trian'.*mean 'train'.*Known: train, test"),
    ('train+tset[:10%]', r"'tset'.*mean 'test'"),
    ('', 'Known: train, test'),
    ('train[:10', 'an expression looks like'),
    ('train[::2]', 'an expression looks like'),
    ('train[:9999]', '600 examples'),
    ('train[:0]', 'no examples'),
    ('train[:1]', 'at least two classes'),
  ],
)
def test_bad_splits(data_dir, split, message):
  with pytest.raises(ValueError, match=message):
    tasks.load('figures', data_dir).read(split)


def test_the_fingerprint_is_of_images_and_labels(data_dir, tmp_path):
  changed = make_rows(600)
  changed[599]['image'][0, 0, 0] ^= 1
  relabelled = make_rows(600)
  relabelled[0]['label'] = 1
  annotated = make_rows(600)
  annotated[0]['note'] = 'else'
  store(
    tmp_path,
    'figures',
    {'changed': changed, 'relabelled': relabelled, 'annotated': annotated},
  )
  other = tasks.load('figures', tmp_path)
  same = tasks.load('figures', data_dir).read('train').fingerprint
  assert other.read('annotated').fingerprint == same
  assert other.read('changed').fingerprint != same
  assert other.read('relabelled').fingerprint != same


def test_a_damaged_image_is_an_error_only_when_decoded():
  import tensorflow as tf

  whole = tf.io.encode_png(make_images(1)[0]).numpy()

  def as_dataset(self, *args, **kwargs):
    return tf.data.Dataset.from_tensor_slices(
      {'image': [whole, whole[:60]], 'label': np.array([0, 1])}
    )

  with tfds.testing.mock_data(as_dataset_fn=as_dataset):
    examples = tasks.load('cats_vs_dogs').read('train')
    good, bad = examples.open(np.arange(2))
  np.testing.assert_array_equal(good(), make_images(1)[0])
  with pytest.raises(ValueError, match=r'cats_vs_dogs.*cannot be decoded'):
    bad()


IMAGE = tfds.features.Image()
LABEL = tfds.features.ClassLabel(num_classes=2)


@pytest.mark.parametrize(
  ('features', 'message'),
  [
    ({'image': IMAGE}, r'one ClassLabel feature and has 0.*image \(Image\)'),
    ({'label': LABEL}, r'one Image feature and has 0.*label \(ClassLabel\)'),
    ({'a': IMAGE, 'b': IMAGE, 'label': LABEL}, 'one Image feature and has 2'),
    (
      {'image': tfds.features.Image(shape=(4, 4, 4)), 'label': LABEL},
      r'shape \[4, 4, 4\].*1 or 3 channels',
    ),
    (
      {
        'image': tfds.features.Image(shape=(4, 4, 1), dtype=np.float32),
        'label': LABEL,
      },
      'float32.*must be uint8',
    ),
  ],
)
def test_other_features(features, message):
  info = types.SimpleNamespace(
    features=tfds.features.FeaturesDict(features),
    supervised_keys=None,
    full_name='other/1.0.0',
  )
  with pytest.raises(ValueError, match=message):
    from_tfds.load('other', types.SimpleNamespace(info=info))


@pytest.mark.parametrize('name', ['coco', 'imdb_reviews'])
@pytest.mark.usefixtures('mocked')
def test_tasks_of_other_kinds(name):
  with pytest.raises(ValueError, match=r'no image class.*Its features'):
    tasks.load(name)


@pytest.mark.parametrize('name', ['mnist:9.9.9', 'mnist/inverted'])
def test_unknown_versions_and_configurations(name):
  with pytest.raises(ValueError, match=f'TFDS cannot give {name!r}'):
    tasks.load(name)


@pytest.mark.parametrize(
  ('one', 'other', 'common'),
  [
    ('train', 'test', 0),
    ('train[:80%]', 'train[80%:]', 0),
    ('train[:80%]', 'train', 480),
    ('train+test', 'test[:10]', 10),
    ('all', 'train[-50:]', 50),
    ('training', 'train[:1%]', 6),
  ],
)
def test_examples_are_known_again_in_another_split(
  one, other, common, data_dir
):
  task = tasks.load('figures', data_dir=data_dir)
  found = [task.read(split) for split in (one, other)]
  assert [len(examples.ids) for examples in found] == list(map(len, found))
  shared = np.intersect1d(*(examples.ids for examples in found))
  assert len(shared) == common

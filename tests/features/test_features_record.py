# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from neucrab_jax import features, storage


def make_features(*, num_examples=6, head=True, **options):
  rng = np.random.default_rng(0)
  return features.Features(
    features=rng.normal(size=(num_examples, 4)).astype(np.float32),
    labels=np.arange(num_examples, dtype=np.int32) % 2,
    source_probs=np.full((num_examples, 5), 0.2, np.float32) if head else None,
    **options,
  )


def write_foreign(path, **changes):
  """What another framework may have written."""
  arrays = {'features': np.ones((6, 4)), 'labels': np.arange(6) % 2}
  arrays |= changes
  np.savez(path, **{k: v for k, v in arrays.items() if v is not None})


@pytest.mark.parametrize('head', [True, False])
def test_what_is_written_is_read(tmp_path, head):
  written = make_features(head=head, provenance={'key': 'k', 'τ': [1, None]})
  features.write(tmp_path / 'f.npz', written)
  found = features.read(tmp_path / 'f.npz')
  assert found.features.dtype == np.float32
  assert found.labels.dtype == np.int32
  np.testing.assert_array_equal(found.features, written.features)
  np.testing.assert_array_equal(found.labels, written.labels)
  if head:
    np.testing.assert_array_equal(found.source_probs, written.source_probs)
  else:
    assert found.source_probs is None
  assert written.provenance.items() <= found.provenance.items()
  assert found.fingerprint() == written.fingerprint()


def test_the_same_features_are_the_same_bytes(tmp_path):
  for name in ('one', 'other'):
    features.write(tmp_path / name, make_features())
  assert (tmp_path / 'one').read_bytes() == (tmp_path / 'other').read_bytes()


@pytest.mark.parametrize('feature_type', ['f2', 'f4', 'f8', '>f4', 'i8', 'u1'])
@pytest.mark.parametrize('label_type', ['i8', 'u1', '>i4'])
def test_any_real_numbers_are_taken(tmp_path, feature_type, label_type):
  write_foreign(
    tmp_path / 'net.npz',
    features=np.arange(24).reshape(6, 4).astype(feature_type),
    labels=(np.arange(6) % 2).astype(label_type),
  )
  found = features.read(tmp_path / 'net.npz')
  # In f64 an offset is taken off without loss.
  wide = feature_type in ('f8', 'i8')
  assert found.features.dtype == (np.float64 if wide else np.float32)
  assert found.features.dtype.isnative
  np.testing.assert_array_equal(
    found.features, np.arange(24).reshape(6, 4).astype(np.float32)
  )
  assert found.labels.dtype == np.int32
  assert found.provenance == {'file': 'net.npz'}


def test_all_halves_are_widened_exactly(tmp_path):
  halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
  halves = np.asfortranarray(halves.reshape(1024, 64))
  write_foreign(
    tmp_path / 'net.npz',
    features=halves,
    labels=np.arange(1024) % 2,
    source_probs=halves[:, :3],
  )
  found = features.read(tmp_path / 'net.npz')
  expected = halves.astype(np.float32)
  np.testing.assert_array_equal(found.features, expected)
  np.testing.assert_array_equal(found.source_probs, expected[:, :3])
  assert found.features.dtype == found.source_probs.dtype == np.float32


@pytest.mark.parametrize('missing', ['features', 'labels'])
def test_a_missing_array_is_named(tmp_path, missing):
  write_foreign(tmp_path / 'net.npz', **{missing: None})
  with pytest.raises(
    storage.DamagedFileError, match=f'lacks the array {missing!r}; it has '
  ):
    features.read(tmp_path / 'net.npz')


@pytest.mark.parametrize('name', ['features', 'source_probs'])
@pytest.mark.parametrize('kind', [np.complex64, np.str_, np.bool_])
def test_what_is_no_real_number_is_named(tmp_path, name, kind):
  write_foreign(tmp_path / 'net.npz', **{name: np.ones((6, 4)).astype(kind)})
  with pytest.raises(ValueError, match=f'{name} must be real numbers'):
    features.read(tmp_path / 'net.npz')


@pytest.mark.parametrize('kind', [np.float32, np.str_])
def test_odd_labels_are_left_for_the_shared_check(tmp_path, kind):
  write_foreign(tmp_path / 'net.npz', labels=np.arange(6).astype(kind))
  assert features.read(tmp_path / 'net.npz').labels.dtype.kind in 'fU'


def test_pickled_objects_are_refused(tmp_path):
  write_foreign(tmp_path / 'net.npz', labels=np.array([{}] * 6))
  with pytest.raises(storage.DamagedFileError, match='pickled'):
    features.read(tmp_path / 'net.npz')


@pytest.mark.parametrize('name', ['features', 'labels', 'source_probs'])
def test_a_changed_array_does_not_match_the_checksum(tmp_path, name):
  path = tmp_path / 'f.npz'
  features.write(path, make_features())
  arrays = storage.read_npz(path)
  arrays[name][-1] = 0 if name != 'labels' else 5
  storage.write_npz(path, arrays)
  with pytest.raises(storage.DamagedFileError, match='its own checksum'):
    features.read(path)


def test_a_lost_head_does_not_match_the_checksum(tmp_path):
  path = tmp_path / 'f.npz'
  features.write(path, make_features())
  arrays = storage.read_npz(path)
  del arrays['source_probs']
  storage.write_npz(path, arrays)
  with pytest.raises(storage.DamagedFileError, match='its own checksum'):
    features.read(path)


@pytest.mark.parametrize('provenance', ['{"half":', '[1]', '3', ''])
def test_provenance_must_be_a_json_object(tmp_path, provenance):
  write_foreign(tmp_path / 'net.npz', provenance=np.array(provenance))
  with pytest.raises(storage.DamagedFileError, match='no JSON object'):
    features.read(tmp_path / 'net.npz')


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match=r'nowhere\.npz'):
    features.read(tmp_path / 'nowhere.npz')

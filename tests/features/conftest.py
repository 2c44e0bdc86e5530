# SPDX-License-Identifier: Apache-2.0
import pathlib
import sys

# `small` is shared by the tests of this folder, and by the processes they run.
sys.path.insert(0, str(pathlib.Path(__file__).parent))

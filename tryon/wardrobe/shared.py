"""The shared store: a Redis server, one wardrobe for many try-on servers.

Values last as long as Redis lets them: to survive its restart, it must be told to save.
"""

from __future__ import annotations

import collections
import json
import time
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tryon.wardrobe.store import ADDRESS, Entry, StoreError, without_password

TIMEOUT = 1.0
"""Seconds for Redis to answer, and to be reached."""
PAUSE = 0.5
"""Seconds after a failure in which it is not asked again: who can't be reached would hold up every
session's frames by the timeout, one after the other."""
REMEMBERED = 64 * 2**20
"""Bytes of values that a process keeps for itself, so that a live session's garment does not travel
with every frame; Redis is asked each time whether it is still there."""
_ENTRIES, _ORDER, _COUNT = "{tryon}:entries", "{tryon}:order", "{tryon}:count"

_FORGET = """
local function forget(key)
    local told = redis.call('HGET', KEYS[1], key)
    if not told then return false end
    redis.call('HINCRBY', KEYS[3], 'bytes', -cjson.decode(told)['size'])
    redis.call('HDEL', KEYS[1], key)
    redis.call('ZREM', KEYS[2], key)
    redis.call('DEL', '{tryon}:value:' .. key)
    return told
end
"""
_REMOVE = _FORGET + "return forget(ARGV[1])"
_PUT = (
    _FORGET
    + """
forget(ARGV[1])
local size, limit = string.len(ARGV[2]), tonumber(ARGV[4])
while tonumber(redis.call('HGET', KEYS[3], 'bytes') or '0') + size > limit do
    local oldest = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
    if not oldest then break end
    if not forget(oldest) then redis.call('ZREM', KEYS[2], oldest) end
end
local time = redis.call('TIME')
local entry = {key = ARGV[1], size = size, added = time[1] + time[2] / 1000000, about = ARGV[3]}
redis.call('HINCRBY', KEYS[3], 'bytes', size)
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(entry))
redis.call('ZADD', KEYS[2], redis.call('HINCRBY', KEYS[3], 'place', 1), ARGV[1])
redis.call('SET', '{tryon}:value:' .. ARGV[1], ARGV[2])
"""
)


class RedisStore:
    """A `Store` in a Redis server: connects when first used, and again after it was away.

    Args:
        address: redis://host:port/db, or rediss:// with TLS; a user and a password may be in it.
        limit: bytes of values.

    Raises:
        StoreError: no such address.
    """

    def __init__(self, address: str, limit: int) -> None:
        self._shown, self._limit = without_password(address), limit
        try:
            self._redis: Any = redis.Redis.from_url(
                address, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT,
                retry=Retry(NoBackoff(), 1),
            )  # fmt: skip
        except ValueError as error:
            raise StoreError(f"{ADDRESS}: {self._shown}: {error}") from None
        self._away, self._until = "", 0.0
        self._mine: collections.OrderedDict[str, bytes] = collections.OrderedDict()
        self._size = 0

    def put(self, key: str, value: bytes, about: str) -> None:
        """See `Store.put`."""
        if len(value) > self._limit:
            raise StoreError(f"{len(value)} bytes are more than the wardrobe may hold "
                             f"({self._limit} bytes): raise TRYON_WARDROBE_MEGABYTES")  # fmt: skip
        self._run(_PUT, key, value, about, self._limit)
        self._drop(key)

    def get(self, key: str) -> bytes | None:
        """See `Store.get`."""
        name = f"{{tryon}}:value:{key}"
        try:
            self._check()
            if key in self._mine and self._redis.exists(name):
                self._mine.move_to_end(key)
                return self._mine[key]
            value = self._redis.get(name)
        except redis.RedisError as error:
            raise self._trouble(error) from None
        self._drop(key)
        if value is not None:
            self._mine[key] = value
            self._size += len(value)
            while self._size > REMEMBERED:
                self._drop(next(iter(self._mine)))
        return value

    def remove(self, key: str) -> Entry | None:
        """See `Store.remove`."""
        told = self._run(_REMOVE, key)
        self._drop(key)
        return None if told is None else _entry(told)

    def entries(self) -> list[Entry]:
        """See `Store.entries`."""
        try:
            self._check()
            pipe = self._redis.pipeline()
            pipe.zrange(_ORDER, 0, -1)
            pipe.hgetall(_ENTRIES)
            order, told = pipe.execute()
        except redis.RedisError as error:
            raise self._trouble(error) from None
        return [_entry(told[key]) for key in order if key in told]

    def close(self) -> None:
        """See `Store.close`."""
        self._redis.close()

    def _drop(self, key: str) -> None:
        self._size -= len(self._mine.pop(key, b""))

    def _run(self, script: str, *arguments: Any) -> Any:
        """A script in Redis: all of it, with nobody else's command between."""
        try:
            self._check()
            return self._redis.eval(script, 3, _ENTRIES, _ORDER, _COUNT, *arguments)
        except redis.RedisError as error:
            raise self._trouble(error) from None

    def _check(self) -> None:
        """Raises what was wrong a moment ago, without asking again."""
        if time.monotonic() < self._until:
            raise StoreError(self._away)

    def _trouble(self, error: Exception) -> StoreError:
        self._away = (f"the wardrobe at {self._shown} can't be used ({error}): start Redis there, "
                      f"or set {ADDRESS} to a folder")  # fmt: skip
        if isinstance(error, (redis.ConnectionError, redis.TimeoutError)):
            self._until = time.monotonic() + PAUSE
        return StoreError(self._away)


def _entry(told: bytes) -> Entry:
    return Entry(**json.loads(told))

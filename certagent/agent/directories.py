"""The certs-dirs of the configuration in force."""

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from certagent.agent.directory import World, world_of
from certagent.authority.client import AuthorityCache, CertificateAuthority
from certagent.certs_dir.swap import pending
from certagent.config import Config
from certagent.events import Log
from certagent.posix.background import BackgroundReader
from certagent.posix.errors import HostError
from certagent.state.ledger import Ledger


class Directories:
    """Their worlds, by path. Other threads may read them: a new configuration replaces the whole mapping."""

    def __init__(
        self,
        *,
        authorities: Callable[[Config], Mapping[str, CertificateAuthority]],
        ledger: Ledger,
        log: Log,
        wake: Callable[[str], None],
    ) -> None:
        """None before `adopt`. `authorities`: those of a configuration that can be asked."""
        self._authorities, self._ledger, self._log, self._wake = authorities, ledger, log, wake
        self._cache: AuthorityCache | None = None
        self.worlds: Mapping[str, World] = {}

    def __iter__(self) -> Iterator[World]:
        """Their worlds, in the order of the configuration."""
        return iter(self.worlds.values())

    def __len__(self) -> int:
        """How many there are."""
        return len(self.worlds)

    def adopt(self, config: Config) -> None:
        """Go by this configuration: worlds that stay keep what they know."""
        authorities = self._authorities(config)
        cache = AuthorityCache(config.authorities, authorities, lambda: self._wake("authorities read"), self._cache)
        before, worlds = dict(self.worlds), dict[str, World]()
        for policy in config.policies:
            world = before.pop(policy.path, None)
            if world is None:
                world = world_of(policy, authorities, cache, ledger=self._ledger, log=self._log, wake=self._wake)
            else:
                world.adopt(policy, authorities, cache)
            worlds[policy.path] = world
        self._cache, self.worlds = cache, worlds
        for path, world in before.items():
            world.stop()
            self._log.emit("directory.retired", certs_dir=path, reason="it is no longer configured")

    def take_locks(self) -> None:
        """Lock each of them. HostError names another agent that holds one."""
        for world in self:
            try:
                world.take_lock()
            except HostError as error:  # one that cannot be locked at all is a finding: the others go on
                if error.errno == errno.EWOULDBLOCK:
                    raise

    def forget_unwanted(self) -> None:
        """Drop the keys of pending requests that are no longer wanted."""
        for world in self:
            with suppress(HostError, OSError):
                pending.only(world.policy.path, frozenset(w.name.stem for w in world.policy.wants))

    def readings(self) -> list[BackgroundReader[Any]]:
        """What is read for them in the background: files of authorities, and roots."""
        cached = self._cache.readings.values() if self._cache else ()
        return [*cached, *(reading for world in self for reading in world.readings())]

    def stop(self) -> None:
        """End the pools, and let every directory go."""
        for world in self:
            world.stop()

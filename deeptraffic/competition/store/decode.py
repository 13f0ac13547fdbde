"""Rows of the tables as records."""

import json
from typing import Any

import numpy as np
from sqlalchemy import Row

from deeptraffic.competition.config import CompetitionConfig
from deeptraffic.competition.store.records import AuditEntry, Competition, Member, Person, Result, Token


def person(row: Row[Any]) -> Person:
    """Return a row of `people` as a record."""
    return Person(row.id, row.key, row.name, row.role, row.contact, row.created_at, row.blocked_at)


def token(row: Row[Any]) -> Token:
    """Return a row of `tokens` as a record, without the digest."""
    return Token(**{name: getattr(row, name) for name in Token.__dataclass_fields__})


def competition(row: Row[Any]) -> Competition:
    """Return a row of `competitions` as a record."""
    names = [name for name in Competition.__dataclass_fields__ if name != "config"]
    config = CompetitionConfig.from_record(json.loads(row.config))
    return Competition(config=config, **{name: getattr(row, name) for name in names})


def member(row: Row[Any]) -> Member:
    """Return a row of `members` as a record."""
    return Member(**{name: getattr(row, name) for name in Member.__dataclass_fields__})


def result(row: Row[Any]) -> Result:
    """Return a row of `results` as a record."""
    values = {name: getattr(row, name) for name in Result.__dataclass_fields__}
    values["run_scores"] = np.frombuffer(row.run_scores, "<f8")
    values["run_passed"] = np.frombuffer(row.run_passed, "<i8")
    return Result(**values)


def audit_entry(row: Row[Any]) -> AuditEntry:
    """Return a row of `audit` as a record."""
    return AuditEntry(row.id, row.at, row.actor, row.action, row.subject, json.loads(row.details))

"""Which submission stands for a person: the best that has a score and is not disqualified."""

from sqlalchemy import Connection, select, update

from deeptraffic.competition.store.competitions import touch
from deeptraffic.competition.store.schema import members, results, submissions


def update_best(connection: Connection, competition_id: int, person_id: int) -> None:
    """Find a member's best submission: by score, then by the mean of the unrounded runs, then the first accepted."""
    who = (members.c.competition_id == competition_id, members.c.person_id == person_id)
    connection.execute(select(members.c.person_id).where(*who).with_for_update())
    best = (
        select(submissions.c.id)
        .join(results, results.c.id == submissions.c.result_id)
        .where(
            submissions.c.competition_id == competition_id,
            submissions.c.person_id == person_id,
            submissions.c.state == "scored",
            submissions.c.disqualified_at.is_(None),
        )
        .order_by(results.c.score.desc(), results.c.unrounded_mean.desc(), submissions.c.id)
        .limit(1)
    )
    found = connection.execute(best).scalar_one_or_none()
    connection.execute(update(members).where(*who).values(best_id=found))
    touch(connection, competition_id)

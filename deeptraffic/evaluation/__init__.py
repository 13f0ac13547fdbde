"""How a policy is scored: official and open evaluation, statistics, comparison, replays."""

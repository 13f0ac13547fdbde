"""Help texts of the options that name a policy."""

from agents.loader import POLICY_NAMES

POLICY_HELP = (
    f"A built-in policy ({', '.join(POLICY_NAMES)}), a policy file or original .js file, or a training run's folder."
)
OTHERS_HELP = "Other agents on the road, 0 to 10, self-play copies of the policy."
OWN = "the policy's own"  # what an option that is not given stands for

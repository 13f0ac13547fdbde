"""The shipped champions: trained policies by name, with the commands that made them and their scores."""

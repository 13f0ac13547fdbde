"""What the lecture names beyond its paradigms: attention, joined senses, memory, capsules, transfer, meta-learning."""

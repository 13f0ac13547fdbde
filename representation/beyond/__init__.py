"""Beyond the six paradigms: attention, multimodal fusion, memory, capsules, transfer, meta-learning, pretraining."""

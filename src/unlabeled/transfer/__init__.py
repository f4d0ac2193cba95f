"""What an encoder is worth: readings with few labels, against honest baselines."""

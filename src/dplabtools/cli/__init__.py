"""The command `dplabtools`, one module for each sub-command."""

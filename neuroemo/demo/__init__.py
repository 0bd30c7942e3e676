"""The whole pipeline in one run, as stages that an interrupted run continues."""

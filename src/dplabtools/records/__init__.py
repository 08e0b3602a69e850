"""What travels from step to step: frozen, in columns, picklable."""

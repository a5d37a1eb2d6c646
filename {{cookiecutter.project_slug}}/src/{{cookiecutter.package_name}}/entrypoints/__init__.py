"""What a DVC stage or a command line runs."""

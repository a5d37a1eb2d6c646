"""Jobs: what a DVC stage, a SageMaker job or a command line runs, and the folders it runs in."""

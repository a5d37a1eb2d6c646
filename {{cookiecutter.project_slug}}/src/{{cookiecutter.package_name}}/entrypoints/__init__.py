"""What a DVC stage, a SageMaker job or a command line runs."""

"""A model repository: the README says what is where."""

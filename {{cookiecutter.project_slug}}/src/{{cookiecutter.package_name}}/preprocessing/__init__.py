"""From records to features and target."""

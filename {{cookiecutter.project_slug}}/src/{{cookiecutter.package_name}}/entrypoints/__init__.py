"""What runs inside a DVC stage or a container."""

"""What runs outside of the container: it builds images, and asks AWS for things."""

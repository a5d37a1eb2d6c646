"""What runs outside the images: it builds them, registers models, and serves them on AWS."""

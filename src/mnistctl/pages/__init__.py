"""Compose pages: pictures of handwritten numbers whose digits and boxes are known."""

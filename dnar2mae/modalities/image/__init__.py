"""Images: patches of pixels on a grid."""

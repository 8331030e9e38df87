"""Images: patches of pixels at places of a grid."""

"""Fine-tuning a pretrained model on labels, and predictions by the result."""

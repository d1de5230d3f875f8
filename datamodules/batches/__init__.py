"""From a domain in memory to batches on the device: order, subsets, resizing, augmentation."""
